"""How every failure is answered."""

from __future__ import annotations

from msgspec import Struct


class Failure(Struct, frozen=True):
    """error: what kind of failure it is. detail: what is wrong, where, and what to do about it, in one line."""

    error: str
    detail: str


class OrderFailure(Failure, frozen=True):
    """A request to change the live model that was not carried out; success is false."""

    success: bool = False
