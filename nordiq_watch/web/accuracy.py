"""`GET /admin/accuracy`: how right each version was, beside the last value on the same points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint

from nordiq_watch.quality.accuracy import EXPECTED_COVERAGE
from nordiq_watch.records import Book
from nordiq_watch.web.answers import Body, write_time
from nordiq_watch.web.services import services

routes = Blueprint("accuracy", __name__, url_prefix="/admin")

_DECIMALS = 4
_MINUTE, _HOUR = 60, 3600


@routes.get("/accuracy")
def show_accuracy() -> Body:
    """The versions whose forecasts came due last are first."""
    bookkeeper, live = services().accuracy, services().live.peek()
    by_version: dict[tuple[str, str], list[Book]] = {}
    for book in bookkeeper.books:
        by_version.setdefault((book.key.model, book.key.sha256), []).append(book)
    versions = sorted(by_version.items(), key=lambda item: -max(book.last_at for book in item[1]))
    return {
        "versions": [
            {
                "name": name,
                "sha256": sha256,
                "is_current": live is not None and (live.name, live.identity.sha256) == (name, sha256),
                "first": write_time(min(book.first_at for book in books)),
                "last": write_time(max(book.last_at for book in books)),
                "metrics": describe_books(books),
            }
            for (name, sha256), books in versions
        ],
        "count": len(versions),
        "expected_coverage": round(EXPECTED_COVERAGE, _DECIMALS),
        "pending": bookkeeper.pending,
        "expired": bookkeeper.expired,
    }


def describe_version(name: str, sha256: str | None) -> Body | None:
    """Metric → horizon → accuracy of one version; None if none of its forecasts came due yet.

    Without `sha256` that of the bytes under this name that were compared last.
    """
    books = [book for book in services().accuracy.books if book.key.model == name]
    if books and sha256 is None:
        sha256 = max(books, key=lambda book: book.last_at).key.sha256
    return describe_books(book for book in books if book.key.sha256 == sha256) or None


def describe_books(books: Iterable[Book]) -> dict[str, dict[str, Any]]:
    described: dict[str, dict[str, Any]] = {}
    for book in sorted(books, key=lambda book: (book.key.metric, book.key.horizon_seconds)):
        horizon = name_horizon(book.key.horizon_seconds)
        described.setdefault(book.key.metric, {})[horizon] = _describe_book(book)
    return described


def name_horizon(seconds: int) -> str:
    """30m, 2h; seconds where it is neither whole hours nor whole minutes."""
    for unit, letter in ((_HOUR, "h"), (_MINUTE, "m")):
        if seconds % unit == 0:
            return f"{seconds // unit}{letter}"
    return f"{seconds}s"


def _describe_book(book: Book) -> Body:
    tally = book.tally
    return {
        "points": tally.points,
        "mae": round(tally.absolute_error / tally.points, _DECIMALS),
        "pinball": round(tally.pinball / tally.points, _DECIMALS),
        "coverage": round(tally.covered / tally.points, _DECIMALS),
        "last_value": {
            "mae": round(tally.last_absolute_error / tally.points, _DECIMALS),
            "pinball": round(tally.last_pinball / tally.points, _DECIMALS),
        },
    }
