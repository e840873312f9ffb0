"""Parses and writes times in ISO 8601, including 24:00:00 and leap seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from math import inf

_DAY_SECONDS = 86_400
_ZONE = r"(?:Z|z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?"
_END_OF_DAY = re.compile(rf"(?P<day>[\dW-]{{7,10}})(?P<between>[^\d:])24(?P<rest>(?::?00){{0,2}}(?:[.,]0+)?{_ZONE})")
_LEAP_SECOND = re.compile(rf"(?P<minute>[\dW-]{{7,10}}[^\d:]\d\d:?\d\d:?)60(?P<rest>(?:[.,]\d{{1,9}})?{_ZONE})")


class MissingHour(ValueError):
    """A zone leaves this time out; the message says so, as the end of a sentence."""


def parse_moment(text: str, *, zone: tzinfo = UTC, latest: float = inf) -> float:
    """Unix seconds. A time without a zone is one of `zone`: of an hour that it has twice the second is meant, unless
    that would be after `latest`, in Unix seconds. Raises MissingHour for a time that the zone leaves out.

    24:00:00 is the midnight at the end of that day; a leap second, 23:59:60 in UTC, is the second after it, as in Unix
    time. Raises ValueError for anything but ISO 8601.
    """

    def read(text: str) -> float:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else _place(moment, zone, latest)

    try:
        return read(text)
    except MissingHour:
        raise
    except ValueError:
        midnight, leap = _END_OF_DAY.fullmatch(text), _LEAP_SECOND.fullmatch(text)
        if midnight is not None:
            return read(f"{midnight['day']}{midnight['between']}00{midnight['rest']}") + _DAY_SECONDS
        if leap is None:
            raise
        seconds = read(f"{leap['minute']}59{leap['rest']}") + 1
        if seconds % _DAY_SECONDS >= 1:
            raise ValueError("leap seconds are at the end of a day in UTC") from None
        return seconds


def _place(local: datetime, zone: tzinfo, latest: float) -> float:
    """Unix seconds of a time on the clocks of a zone."""
    if zone is UTC:
        return local.replace(tzinfo=UTC).timestamp()
    first, second = (local.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    if first > second:
        raise MissingHour(f"does not exist in {zone}, whose clocks went forward over it")
    return second if second <= latest else first


def write_moment(moment: float) -> str:
    """Unix seconds as ISO 8601 to the second, in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
