"""For what may be absent elsewhere and must be there in a test."""

from __future__ import annotations

from typing import TypeVar

Value = TypeVar("Value")


def not_none(value: Value | None) -> Value:
    """The value; fails the test if it is None."""
    assert value is not None
    return value
