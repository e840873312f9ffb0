"""Tests that could go on for ever have two lengths: a short pass in `make test`, the whole in `make test-long`.

They are marked `long`, and `make test-long` runs those alone.
"""

from __future__ import annotations

import os
from typing import TypeVar

LONG = bool(os.environ.get("NORDIQ_TEST_LONG"))
T = TypeVar("T")


def at_length(long: T, *, short: T) -> T:
    """Whichever of the two this run is."""
    return long if LONG else short


def seeds(first: int, *, long: int) -> range:
    """Of one pass, or of as many as `long`."""
    return range(first, first + at_length(long, short=1))
