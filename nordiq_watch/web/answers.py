"""What answers have in common: how times are written."""

from __future__ import annotations

from typing import Any

from nordiq_watch.moments import write_moment

Body = dict[str, Any]


def write_time(moment: float | None) -> str | None:
    """Unix seconds as ISO 8601 to the second, with its zone (UTC); None stays None."""
    return None if moment is None else write_moment(moment)
