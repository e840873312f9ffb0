"""Closed sets of words on the wire."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a key may do. `admin` includes the others; `feed` sends data and sees nothing; `read` changes nothing."""

    READ = "read"
    FEED = "feed"
    ADMIN = "admin"


class Media(StrEnum):
    """Content types of bodies and answers."""

    JSON = "application/json"
    CSV = "text/csv"
    TEXT = "text/plain"
    HTML = "text/html"
    SCRIPT = "text/javascript"
    PROTOBUF = "application/x-protobuf"


class TimeRange(StrEnum):
    """How far a question about the past reaches back; `seconds` is its length."""

    MINUTES_30 = "30m"
    HOUR = "1h"
    HOURS_8 = "8h"
    DAY = "1d"
    WEEK = "1w"
    MONTH = "1M"

    @property
    def seconds(self) -> int:
        """A month is 30 days."""
        return _SECONDS[self]


_SECONDS = {
    TimeRange.MINUTES_30: 1800,
    TimeRange.HOUR: 3600,
    TimeRange.HOURS_8: 28_800,
    TimeRange.DAY: 86_400,
    TimeRange.WEEK: 604_800,
    TimeRange.MONTH: 2_592_000,
}


class ExportFormat(StrEnum):
    """How an export is answered: the file itself, or JSON with the file in it."""

    CSV = "csv"
    JSON = "json"


class DriftState(StrEnum):
    """The word that follows from the four figures of drift."""

    NO_MODEL = "no_model"
    STABLE = "stable"
    MODERATE = "moderate"
    SIGNIFICANT = "significant"


class Direction(StrEnum):
    """The side of the forecast band to which servers leave it."""

    UP = "up"
    DOWN = "down"
