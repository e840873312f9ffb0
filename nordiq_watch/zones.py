"""Time zones by their IANA names, from the system's tz database or, without one, from the package tzdata."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_NAME = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
"""ZoneInfo looks a name up as a path and as a package, so that a name from a file must be nothing but a name."""


class UnknownZone(ValueError):
    """The tz database has no such zone; the message names it, as the end of a sentence."""


def find_zone(name: str) -> tzinfo:
    """The zone of that name, such as Europe/Berlin; `str` of it is its name. Raises UnknownZone.

    UTC may be written in small letters, and is `datetime.UTC`; all other names are as in the tz database.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        if _NAME.fullmatch(name):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a directory, such as Europe
        pass
    raise UnknownZone(f"{name!r}, which is not in this machine's tz database; a zone's name is such as Europe/Berlin")
