"""Whether the daemon is alive, whether it can forecast, and how far it is.

Times are ISO 8601 with their zone. A value that is not known yet is null.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from nordiq_watch.api.enums import PartState


class Health(Struct, frozen=True):
    """The process answers."""

    status: Literal["healthy"]
    service: Literal["nordiq_watch"]
    running: bool
    version: str


class Ready(Struct, frozen=True):
    """A verified model is serving."""

    ready: bool
    model_version: str
    model_generation: int


class NotReady(Struct, frozen=True):
    """No model is serving; detail: why."""

    ready: bool
    error: str
    detail: str


class Warmup(Struct, frozen=True):
    """How far the furthest server is on its way to a forecast. threshold, required_size: samples that it needs."""

    is_warmed_up: bool
    progress_percent: float
    threshold: int
    current_size: int
    required_size: int
    message: str


class Trouble(Struct, frozen=True):
    """A store that does not work."""

    part: str
    reason: str | None
    since: str


class Storage(Struct, frozen=True):
    """The stores that do not work, for readers that do not know `parts`."""

    healthy: bool
    troubles: list[Trouble]


class Part(Struct, frozen=True):
    """A worker or a store. reason: null while it is ok. effect: the cost of its failure; everything else goes on."""

    name: str
    state: PartState
    reason: str | None
    since: str
    effect: str


class Status(Struct, frozen=True):
    """How far the daemon is. tick_count: batches accepted; window_size: samples in the window, over all servers."""

    running: bool
    model_loaded: bool
    model_path: str | None
    model_generation: int | None
    pinned: bool
    tick_count: int
    window_size: int
    servers_tracked: int
    servers_ready: int
    uptime_seconds: float
    last_prediction: str | None
    forecast_seconds: float | None
    forecast_overruns: int
    newest_sample: str | None
    newest_sample_age_seconds: float | None
    stale: bool
    warmup: Warmup
    storage: Storage
    parts: list[Part]
