"""The answers to clients of InfluxDB, which read them as InfluxDB's own."""

from __future__ import annotations

from msgspec import Struct


class InfluxFailure(Struct, frozen=True):
    """What was not taken, and why. code, message: as InfluxDB 2 has them. error: the message, as InfluxDB 1 has it."""

    code: str
    message: str
    error: str


class Queried(Struct, frozen=True):
    """The answer to `CREATE DATABASE`, which Telegraf asks for: there is nothing to create."""

    results: list[None] = []
