"""The schema of all settings: type, default and allowed range of every key; of quality and training in files beside."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from nordiq_watch.config.quality import QualitySettings
from nordiq_watch.config.section import Count, MetricName, Seconds
from nordiq_watch.config.section import Section as _Section
from nordiq_watch.config.training import TrainingSettings

DEFAULT_METRICS = (
    "cpu_user_pct",
    "cpu_sys_pct",
    "cpu_iowait_pct",
    "cpu_idle_pct",
    "java_cpu_pct",
    "mem_used_pct",
    "swap_used_pct",
    "disk_usage_pct",
    "net_in_mb_s",
    "net_out_mb_s",
    "back_close_wait",
    "front_close_wait",
    "load_average",
    "uptime_days",
)


class ServerSettings(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    threads: Annotated[int, Meta(ge=1, le=256)] = 8
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 16
    request_seconds: Seconds = 60
    trusted_proxy: Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+$", description="IP address")] | None = None
    url_prefix: Annotated[str, Meta(description="path such as `/nordiq`, or nothing")] = ""


class AuthSettings(_Section, frozen=True):
    key_file: str = ".nordiq_key"
    public: tuple[Annotated[str, Meta(pattern="^/", description="path from `/`")], ...] = (
        "/health",
        "/ready",
        "/status",
        "/metrics",
    )


class LimitSettings(_Section, frozen=True):
    mode: Literal["auto", "always", "never"] = "auto"
    read_per_minute: Count = 600
    feed_per_minute: Count = 60_000
    admin_per_minute: Count = 120
    refused_per_minute: Count = 60


class ModelSettings(_Section, frozen=True):
    dir: str = "models"
    keep: Count | None = None
    allow_world_writable: bool = False
    trusted_keys: tuple[
        Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{43}=$", description="ed25519 public key in base64")], ...
    ] = ()


class WatchSettings(_Section, frozen=True):
    enabled: bool = True
    mode: Literal["auto", "inotify", "poll"] = "auto"
    settle_seconds: Annotated[float, Meta(ge=0)] = 1.0
    rescan_seconds: Seconds = 30


class CanarySettings(_Section, frozen=True):
    max_crossed_share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    max_overshoot: Annotated[float, Meta(ge=0)] = 0.5
    max_distance: Annotated[float, Meta(gt=0)] = 20.0
    max_error: Annotated[float, Meta(gt=0)] = 3.0


class ReloadSettings(_Section, frozen=True):
    policy: Literal["auto", "load_first", "unload_first"] = "auto"
    auto_rollback: bool = True
    on_loss: Literal["warn", "refuse"] = "warn"
    canary: CanarySettings = CanarySettings()


class WindowSettings(_Section, frozen=True):
    interval_seconds: Annotated[int, Meta(ge=1, le=86400)] = 300
    length: Annotated[int, Meta(ge=2, le=100_000)] = 288
    max_servers: Count | Literal["auto"] = 20000
    silent_seconds: Seconds = 3600
    future_seconds: Annotated[float, Meta(ge=0)] = 300
    lateness_seconds: Annotated[float, Meta(ge=0)] = 900
    naive_zone: Annotated[str, Meta(description="IANA name of a time zone")] = "UTC"
    ended: tuple[Annotated[str, Meta(min_length=1, description="pattern of names, or `label:NAME:VALUE`")], ...] = ()
    aggregate: dict[MetricName, Literal["last", "max", "mean"]] = msgspec.field(default_factory=dict)


class StateSettings(_Section, frozen=True):
    dir: str = "state"


class ArchiveSettings(_Section, frozen=True):
    days: Count = 30


class LogSettings(_Section, frozen=True):
    dir: str = "logs"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_mb: Annotated[float, Meta(gt=0)] = 10
    keep: Annotated[int, Meta(ge=0)] = 5
    format: Literal["text", "json"] = "text"


class Threshold(_Section, frozen=True):
    """A metric's value at the scores 0 (calm), 50, 60 and 80. Descending numbers mean that low values are bad."""

    calm: float
    degraded: float
    warning: float
    critical: float

    @property
    def falling(self) -> bool:
        return self.critical < self.calm


Thresholds = dict[MetricName, Threshold | None]


def default_thresholds() -> Thresholds:
    """Reasons and sources are in docs/risk.md."""
    return {
        "cpu_user_pct": Threshold(calm=60, degraded=80, warning=90, critical=95),
        "cpu_idle_pct": Threshold(calm=40, degraded=20, warning=10, critical=5),
        "cpu_iowait_pct": Threshold(calm=5, degraded=20, warning=30, critical=50),
        "mem_used_pct": Threshold(calm=60, degraded=85, warning=90, critical=95),
        "swap_used_pct": Threshold(calm=10, degraded=40, warning=60, critical=80),
        "disk_usage_pct": Threshold(calm=70, degraded=85, warning=90, critical=95),
        "load_average": Threshold(calm=4, degraded=8, warning=12, critical=16),
    }


def default_profiles() -> dict[str, Thresholds]:
    return {"Database": {"mem_used_pct": Threshold(calm=85, degraded=95, warning=97, critical=98.5)}}


class RiskSettings(_Section, frozen=True):
    current_weight: Annotated[float, Meta(ge=0, le=1)] = 0.7
    thresholds: Thresholds = msgspec.field(default_factory=default_thresholds)
    profiles: dict[str, Thresholds] = msgspec.field(default_factory=default_profiles)
    labels: dict[str, Thresholds] = msgspec.field(default_factory=dict)


class WebhookSettings(_Section, frozen=True):
    url: Annotated[str, Meta(pattern="^https?://", description="text from `http://`, `https://`")] | None = None
    format: Literal["alertmanager", "json"] = "alertmanager"
    min_level: Literal["degraded", "warning", "critical"] = "warning"
    resend_seconds: Seconds = 60
    timeout_seconds: Seconds = 5
    queue_size: Count = 1000
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    headers_file: str | None = None
    proxy: (
        Annotated[
            str,
            Meta(pattern=r"^(environment|none|https?://\S+)$", description="`environment`, `none` or a proxy's URL"),
        ]
        | None
    ) = None


class AlertSettings(_Section, frozen=True):
    raise_seconds: Annotated[float, Meta(ge=0)] = 0
    hold_seconds: Annotated[float, Meta(ge=0)] = 900
    clear_seconds: Annotated[float, Meta(ge=0)] = 600
    silent_seconds: Seconds = 900
    ended_seconds: Seconds = 86_400
    webhook: WebhookSettings = WebhookSettings()


class HistorySettings(_Section, frozen=True):
    keep_days: Annotated[float, Meta(gt=0)] = 31


class SeriesRule(_Section, frozen=True):
    """Computes a metric from series: the sum of those selected by `value`, as a percentage of those selected by `of`.

    rate: per-second rate of counters. complement: 100 minus the result. age: the sample's time minus the value. scale:
    a factor, applied last. max_per_second: what one counter can grow by in a second. of_at_least: the least that the
    whole of one part, such as a processor, can be: where it is less, some of its series were not sent.
    """

    value: str
    of: str | None = None
    rate: bool = False
    complement: bool = False
    age: bool = False
    scale: float = 1.0
    max_per_second: Annotated[float, Meta(gt=0)] | None = None
    of_at_least: Annotated[float, Meta(gt=0)] | None = None


class PrometheusSettings(_Section, frozen=True):
    server_label: str = "instance"
    metrics: dict[MetricName, SeriesRule | None] = msgspec.field(default_factory=dict)


class TelegrafSettings(_Section, frozen=True):
    server_label: str = "host"
    metrics: dict[MetricName, SeriesRule | None] = msgspec.field(default_factory=dict)


LabelName = Annotated[str, Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$", description="label")]


class RelabelRule(_Section, frozen=True):
    """As in Prometheus' relabel_configs: the values of `source_labels`, joined, against the whole of `regex`."""

    source_labels: tuple[LabelName, ...] = ()
    separator: str = ";"
    regex: str = "(.*)"
    target_label: LabelName = "server_name"
    replacement: str = "$1"
    action: Literal["replace", "keep", "drop"] = "replace"


class CollectdSettings(_Section, frozen=True):
    server_label: str = "host"
    metrics: dict[MetricName, SeriesRule | None] = msgspec.field(default_factory=dict)


class InfluxSettings(_Section, frozen=True):
    server_label: str = "host"
    metrics: dict[MetricName, SeriesRule | None] = msgspec.field(default_factory=dict)


class OtlpSettings(_Section, frozen=True):
    server_attributes: Annotated[tuple[str, ...], Meta(min_length=1)] = ("host.name", "service.instance.id")
    metrics: dict[MetricName, SeriesRule | None] = msgspec.field(default_factory=dict)


class FeederSettings(_Section, frozen=True):
    max_records: Count = 100_000
    max_series: Count = 1_000_000
    replica_labels: tuple[LabelName, ...] = ("replica", "prometheus_replica", "__replica__", "job")
    cluster_label: LabelName | None = "cluster"
    relabel: tuple[RelabelRule, ...] = ()
    labels: tuple[
        Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_.-]{0,63}$", description="label or attribute")], ...
    ] = ()
    prometheus: PrometheusSettings = PrometheusSettings()
    telegraf: TelegrafSettings = TelegrafSettings()
    collectd: CollectdSettings = CollectdSettings()
    otlp: OtlpSettings = OtlpSettings()
    influx: InfluxSettings = InfluxSettings()


class AnswerSettings(_Section, frozen=True):
    baseline: bool = True
    render_ahead: Annotated[int, Meta(ge=0)] = 5000


class WatchdogSettings(_Section, frozen=True):
    stuck_seconds: Annotated[float, Meta(ge=40)] = 600  # an idle thread has a round every 30 s


class Config(_Section, frozen=True):
    """All settings. Paths in it are as written; `root` resolves them."""

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    models: ModelSettings = ModelSettings()
    watch: WatchSettings = WatchSettings()
    reload: ReloadSettings = ReloadSettings()
    window: WindowSettings = WindowSettings()
    metrics: Annotated[tuple[MetricName, ...], Meta(min_length=1)] = DEFAULT_METRICS
    state: StateSettings = StateSettings()
    archive: ArchiveSettings = ArchiveSettings()
    logs: LogSettings = LogSettings()
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="`auto`, `cpu`, `cuda`, `cuda:N`")] = (
        "auto"
    )
    risk: RiskSettings = msgspec.field(default_factory=RiskSettings)
    alerts: AlertSettings = AlertSettings()
    history: HistorySettings = HistorySettings()
    feeders: FeederSettings = FeederSettings()
    quality: QualitySettings = QualitySettings()
    answers: AnswerSettings = AnswerSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    training: TrainingSettings = TrainingSettings()
