"""Orders about single servers."""

from __future__ import annotations

from msgspec import Struct


class Forgotten(Struct, frozen=True):
    """The outcome of forgetting a server. forgotten: the parts that knew it. pending: those that have not answered;
    they forget it once they work, unless the daemon ends before. success: nothing is pending.
    """

    success: bool
    server_name: str
    forgotten: list[str]
    pending: list[str]
