"""What the console's own scripts ask for, beside the API. Not part of the API: no promise holds for it."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from nordiq_watch.api.alerts import Alert
from nordiq_watch.api.enums import Level, NoForecast, ReloadOutcome, ReloadTrigger, ServerState
from nordiq_watch.api.predictions import Environment, Metadata
from nordiq_watch.api.servers import Maintenance, Server
from nordiq_watch.api.status import Warmup


class Course(Struct, frozen=True):
    """One metric of all servers over time. past, future: base64 of (servers, buckets) bytes, row by row.

    A byte of 0 to `full` stands for 0 to `scale`, in the metric's unit.
    """

    name: str
    unit: str
    scale: float
    past: str
    future: str


class FleetView(Struct, frozen=True):
    """The fleet as it is drawn. past, future: when each bucket begins, in Unix seconds.

    risks, levels: null where no metric is scored. metrics: the score of the worst one is first. cold: servers that are
    not ready. alerts: the worst of `alert_count`. label_sets: the different labels that servers have; label_codes:
    which of them each has. maintenance: of every server that is in it, forecast or not, by name.
    """

    servers: tuple[str, ...]
    profiles: list[str]
    label_sets: list[dict[str, str]]
    label_codes: list[int]
    risks: list[float | None]
    levels: list[Level | None]
    past: list[int]
    future: list[int]
    metrics: list[Course]
    cold: int
    environment: Environment | None
    alerts: list[Alert]
    alert_count: int
    maintenance: dict[str, Maintenance]
    metadata: Metadata


class NoFleetView(Struct, frozen=True):
    """There is nothing to draw. servers: none. error: null while the first forecast is being made."""

    error: NoForecast | None
    message: str | None
    servers: tuple[str, ...]
    cold: int
    metadata: Metadata | UnsetType = UNSET


class MetricPast(Struct, frozen=True):
    """One metric of one server, one value per slot of the window; null where it was not measured."""

    name: str
    unit: str
    values: list[float | None]


class Band(Struct, frozen=True):
    """What was forecast of one metric, one value per step; null where it was not forecast."""

    p10: list[float | None]
    p50: list[float | None]
    p90: list[float | None]


class PastForecast(Struct, frozen=True):
    """A forecast of before. Its first step is the slot after `origin_slot`."""

    origin_slot: int
    model: str
    metrics: dict[str, Band]


class LevelValues(Struct, frozen=True):
    """The values of a metric at which a server gets each level."""

    degraded: float
    warning: float
    critical: float


class ServerView(Struct, frozen=True):
    """One server's window, its thresholds by metric, and what was forecast for it before. standing: as in
    `GET /servers`; null for one that was forgotten while this was written.
    """

    server: str
    known: Literal[True]
    profile: str
    interval_seconds: int
    last_slot: int
    first_slot: int
    metrics: list[MetricPast]
    thresholds: dict[str, LevelValues]
    before: list[PastForecast]
    standing: Server | None


class UnknownServer(Struct, frozen=True):
    """A server that is not in the window. standing: of one that left it while it is in maintenance, else null."""

    server: str
    known: Literal[False]
    standing: Server | None


class FeedPulse(Struct, frozen=True):
    """Records taken and rejected in each of the last minutes, the present one last; batches since the start."""

    minutes: list[int]
    rejected: list[int]
    batches: int


class ForecastPulse(Struct, frozen=True):
    """When the newest forecasts were made, in Unix seconds, and how long each took; failures since the start."""

    at: list[int]
    seconds: list[float]
    failures: int


class WindowFill(Struct, frozen=True):
    """How full the window is. room: samples that its servers could have."""

    samples: int
    room: int
    slots: int
    interval_seconds: int
    servers: int
    servers_ready: int
    max_servers: int


class SystemView(Struct, frozen=True):
    """How the daemon is doing."""

    uptime_seconds: int
    resident_bytes: int
    feed: FeedPulse
    forecast: ForecastPulse
    window: WindowFill
    warmup: Warmup


class LogLine(Struct, frozen=True):
    """One record of the daemon's log; time and level are null where its beginning was not read."""

    time: str | None
    level: str | None
    text: str


class LogView(Struct, frozen=True):
    """The newest records, the oldest first."""

    records: list[LogLine]


class ByteScale(Struct, frozen=True):
    """The byte of a value at the upper end of its scale, and that of a value that is not known."""

    full: int
    not_known: int


class Tables(Struct, frozen=True):
    """The daemon's own tables, which every page carries.

    levels: the calmest first. stages: of a reload, in their order; stages_ahead: those that a reload with this trigger
    goes through. outcomes: of a reload, to whether all is well after it. chances: the chances of an incident, and how
    many seconds each looks ahead. horizons: in seconds. drift_limits: above which a figure of drift is significant.
    fleet: the name that stands for the whole fleet in an alert. expected_coverage: the share of measurements that
    should lie between p10 and p90. states: of a server.
    """

    levels: tuple[Level, ...]
    stages: tuple[str, ...]
    stages_ahead: dict[ReloadTrigger, tuple[str, ...]]
    outcomes: dict[ReloadOutcome, bool]
    units: dict[str, str]
    chances: dict[str, int]
    horizons: tuple[int, ...]
    bytes: ByteScale
    drift_limits: dict[str, float]
    fleet: str
    expected_coverage: float
    states: tuple[ServerState, ...]
