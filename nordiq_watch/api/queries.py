"""The query parameters of each route that takes any. A parameter that is not a field is refused by name."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from nordiq_watch.api.enums import ExportFormat, TimeRange

MOST_RELOADS = 1000
MOST_STEPS = 999_999


class NoQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """For a route without parameters."""


class WaitQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """wait: answer when the reload is over; else at once, with its id."""

    wait: bool = True


class ReloadQuery(WaitQuery, frozen=True, forbid_unknown_fields=True):
    """model_path: the version to load, as NAME or models/NAME; the latest without it."""

    model_path: str | None = None


class ReloadsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """limit: how many reloads, the newest first."""

    limit: Annotated[int, Meta(ge=1, le=MOST_RELOADS)] = 50


class PastQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """time_range: how far back."""

    time_range: TimeRange = TimeRange.DAY


class ExportQuery(PastQuery, frozen=True, forbid_unknown_fields=True):
    """format: without it, the header Accept decides."""

    format: ExportFormat | None = None


class ExplainQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """target: the forecast metric to explain; step: of the horizon, from 0. Without them, what decides the risk."""

    target: str | None = None
    step: Annotated[int, Meta(ge=0, le=MOST_STEPS)] | None = None
