"""What every answer has in common: how times are written, and how an error looks."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify

from nordiq_watch.forecast.answer import write_time as write_moment

__all__ = ["Body", "Reply", "make_error", "write_moment", "write_time"]

Body = dict[str, Any]
Reply = tuple[Body, int] | tuple[Body, int, dict[str, str]]


def write_time(moment: float | None) -> str | None:
    """Unix seconds as ISO 8601 to the second, with its zone (UTC); None stays None."""
    return None if moment is None else write_moment(moment)


def make_error(title: str, detail: str, *, status: int, **more: Any) -> Response:
    """`{"error": …, "detail": …}` and whatever else belongs to it."""
    response = jsonify(error=title, detail=detail, **more)
    response.status_code = status
    return response
