"""Settings: config.yaml, then NORDIQ_* of the environment, into frozen sections. The only reader of the environment.

The sections are the one table of settings: type, default and allowed range of every key stand here once.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from nordiq_watch.conversion import converter
from nordiq_watch.errors import ConfigError
from nordiq_watch.strict_yaml import load_yaml

DEFAULT_FILE = Path("config.yaml")
API_KEY_VARIABLE = "NORDIQ_API_KEY"
URL_VARIABLE = "NORDIQ_URL"
_PREFIX = "NORDIQ_"
_RESERVED_VARIABLES = {API_KEY_VARIABLE, URL_VARIABLE}

_RECORD_FIELDS = {"timestamp", "server_name", "status", "profile"}

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
MetricName = Annotated[str, Meta(pattern="^[a-zA-Z][a-zA-Z0-9_]*$")]

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


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Server(_Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    threads: Annotated[int, Meta(ge=1, le=256)] = 8
    max_body_mb: Annotated[float, Meta(gt=0, le=1024)] = 16
    request_seconds: Seconds = 60
    trusted_proxy: Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+$")] | None = None


class Auth(_Section, frozen=True):
    key_file: str = ".nordiq_key"
    public: tuple[Annotated[str, Meta(pattern="^/")], ...] = ("/health", "/ready", "/status", "/metrics")


class Limits(_Section, frozen=True):
    mode: Literal["auto", "always", "never"] = "auto"
    read_per_minute: Count = 600
    feed_per_minute: Count = 60_000
    admin_per_minute: Count = 120
    refused_per_minute: Count = 60


class Models(_Section, frozen=True):
    dir: str = "models"
    keep: Count | None = None
    allow_world_writable: bool = False
    trusted_keys: tuple[Annotated[str, Meta(pattern="^[A-Za-z0-9+/]{43}=$")], ...] = ()


class Watch(_Section, frozen=True):
    enabled: bool = True
    mode: Literal["auto", "inotify", "poll"] = "auto"
    settle_seconds: Annotated[float, Meta(ge=0)] = 1.0
    rescan_seconds: Seconds = 30


class CanaryLimits(_Section, frozen=True):
    max_crossed_share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    max_overshoot: Annotated[float, Meta(ge=0)] = 0.5
    max_distance: Annotated[float, Meta(gt=0)] = 20.0
    max_error: Annotated[float, Meta(gt=0)] = 3.0


class Reload(_Section, frozen=True):
    policy: Literal["auto", "load_first", "unload_first"] = "auto"
    auto_rollback: bool = True
    on_loss: Literal["warn", "refuse"] = "warn"
    canary: CanaryLimits = CanaryLimits()


class Window(_Section, frozen=True):
    interval_seconds: Annotated[int, Meta(ge=1, le=86400)] = 300
    length: Annotated[int, Meta(ge=2, le=100_000)] = 288
    max_servers: Count = 20000
    silent_seconds: Seconds = 3600
    future_seconds: Annotated[float, Meta(ge=0)] = 300


class State(_Section, frozen=True):
    dir: str = "state"


class Archive(_Section, frozen=True):
    days: Count = 30


class Logs(_Section, frozen=True):
    dir: str = "logs"
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_mb: Annotated[float, Meta(gt=0)] = 10
    keep: Annotated[int, Meta(ge=0)] = 5
    format: Literal["text", "json"] = "text"


class Threshold(_Section, frozen=True):
    """Where a metric's score is 0 (calm), 50, 60 and 80. Falling numbers mean that low values are the bad ones."""

    calm: float
    degraded: float
    warning: float
    critical: float

    @property
    def falling(self) -> bool:
        return self.critical < self.calm


Thresholds = dict[MetricName, Threshold | None]


def default_thresholds() -> Thresholds:
    """Reasons and sources: docs/risk.md."""
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


class Risk(_Section, frozen=True):
    current_weight: Annotated[float, Meta(ge=0, le=1)] = 0.7
    thresholds: Thresholds = msgspec.field(default_factory=default_thresholds)
    profiles: dict[str, Thresholds] = msgspec.field(default_factory=default_profiles)


class Webhook(_Section, frozen=True):
    url: Annotated[str, Meta(pattern="^https?://")] | None = None
    format: Literal["alertmanager", "json"] = "alertmanager"
    min_level: Literal["degraded", "warning", "critical"] = "warning"
    resend_seconds: Seconds = 60
    timeout_seconds: Seconds = 5
    queue_size: Count = 1000


class Alerts(_Section, frozen=True):
    raise_seconds: Annotated[float, Meta(ge=0)] = 0
    hold_seconds: Annotated[float, Meta(ge=0)] = 900
    clear_seconds: Annotated[float, Meta(ge=0)] = 600
    silent_seconds: Seconds = 900
    ended_seconds: Seconds = 86_400
    webhook: Webhook = Webhook()


class History(_Section, frozen=True):
    keep_days: Annotated[float, Meta(gt=0)] = 31


class Drift(_Section, frozen=True):
    error_rate: Annotated[float, Meta(gt=0, le=1)] = 0.4
    anomaly_rate: Annotated[float, Meta(gt=0, le=1)] = 0.05
    psi_moderate: Annotated[float, Meta(gt=0)] = 0.1
    psi: Annotated[float, Meta(gt=0)] = 0.25


class Cascade(_Section, frozen=True):
    share: Annotated[float, Meta(gt=0, le=1)] = 0.3
    servers: Count = 3


class SeriesRule(_Section, frozen=True):
    """How a metric comes from series: the sum of those that `value` selects, in percent of those that `of` selects.

    rate: of counters, a second. complement: 100 less that. age: the sample's time less the value. scale: at last.
    """

    value: str
    of: str | None = None
    rate: bool = False
    complement: bool = False
    age: bool = False
    scale: float = 1.0


class PrometheusFeeder(_Section, frozen=True):
    server_label: str = "instance"
    metrics: dict[MetricName, SeriesRule | None] = {}


class TelegrafFeeder(_Section, frozen=True):
    server_label: str = "host"
    metrics: dict[MetricName, SeriesRule | None] = {}


class Feeders(_Section, frozen=True):
    max_records: Count = 100_000
    max_series: Count = 2_000_000
    prometheus: PrometheusFeeder = PrometheusFeeder()
    telegraf: TelegrafFeeder = TelegrafFeeder()


class Quality(_Section, frozen=True):
    horizons_seconds: Annotated[tuple[Count, ...], Meta(min_length=1)] = (1800, 7200, 28800)
    max_servers: Count = 1000
    drift: Drift = Drift()
    cascade: Cascade = Cascade()


class Training(_Section, frozen=True):
    hidden_size: Annotated[int, Meta(ge=4, le=1024)] = 32
    attention_heads: Annotated[int, Meta(ge=1, le=64)] = 4
    max_encoder_length: Annotated[int, Meta(ge=2)] = 288
    max_prediction_length: Count = 96
    batch_size: Count = 64
    learning_rate: Annotated[float, Meta(gt=0, lt=1)] = 0.005
    max_batches_per_epoch: Count | None = None
    max_seconds: Seconds | None = None
    seed: Annotated[int, Meta(ge=0)] = 42


class Watchdog(_Section, frozen=True):
    stuck_seconds: Annotated[float, Meta(ge=40)] = 600  # an idle thread comes round every 30 s


class Config(_Section, frozen=True):
    """All settings. Paths in it are as written; `root` resolves them."""

    server: Server = Server()
    auth: Auth = Auth()
    limits: Limits = Limits()
    models: Models = Models()
    watch: Watch = Watch()
    reload: Reload = Reload()
    window: Window = Window()
    metrics: Annotated[tuple[MetricName, ...], Meta(min_length=1)] = DEFAULT_METRICS
    state: State = State()
    archive: Archive = Archive()
    logs: Logs = Logs()
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    risk: Risk = msgspec.field(default_factory=Risk)
    alerts: Alerts = Alerts()
    history: History = History()
    feeders: Feeders = Feeders()
    quality: Quality = Quality()
    watchdog: Watchdog = Watchdog()
    training: Training = Training()


class Settings(Struct, frozen=True):
    """A Config, the directory that its relative paths are relative to, and its file; without one, the defaults.

    bound_host: where a running daemon listens, whatever `server.host` says: at a socket that it was passed, or where it
    began.
    """

    config: Config
    root: Path
    api_key: str | None = None
    file: Path | None = None
    bound_host: str | None = None

    @property
    def host(self) -> str:
        return self.bound_host or self.config.server.host

    @property
    def other_machines(self) -> bool:
        """Whether they can reach `host`. A name other than localhost counts as such."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def models_dir(self) -> Path:
        return self.root / self.config.models.dir

    @property
    def state_dir(self) -> Path:
        return self.root / self.config.state.dir

    @property
    def archive_dir(self) -> Path:
        return self.state_dir / "archive"

    @property
    def log_file(self) -> Path:
        return self.root / self.config.logs.dir / "inference_daemon.log"

    @property
    def audit_file(self) -> Path:
        return self.root / self.config.logs.dir / "audit.jsonl"

    @property
    def key_file(self) -> Path:
        return self.root / self.config.auth.key_file


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `path` with the environment's overrides. ConfigError names key, value and what is allowed."""
    environ = os.environ if environ is None else environ
    tree = _read_yaml(path)
    sources = _override(tree, environ)
    config = _convert(tree, path, sources)
    _check_consistency(config, path)
    api_key = environ.get(API_KEY_VARIABLE) or None
    return Settings(config=config, root=path.resolve().parent, api_key=api_key, file=path)


def find_settings(path: Path | None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in `path`; without one those in ./config.yaml; without that the defaults, relative to here."""
    if path is None and not os.path.lexists(DEFAULT_FILE):  # a link that leads nowhere was meant to be a config
        return msgspec.structs.replace(load_settings(Path(os.devnull), environ), root=Path.cwd(), file=None)
    return load_settings(path or DEFAULT_FILE, environ)


class Remote(Struct, frozen=True):
    """What the environment says about the daemon that a client talks to."""

    url: str | None = None
    api_key: str | None = None


def find_remote(environ: Mapping[str, str] | None = None) -> Remote:
    """NORDIQ_URL and NORDIQ_API_KEY; None for one that is not set or empty."""
    environ = os.environ if environ is None else environ
    return Remote(url=environ.get(URL_VARIABLE) or None, api_key=environ.get(API_KEY_VARIABLE) or None)


class Supervision(Struct, frozen=True):
    """What systemd says to this process: where to report, how often to ping at least, how many sockets it passes."""

    notify_socket: str | None = None
    watchdog_seconds: float | None = None
    passed_sockets: int = 0


def find_supervision(environ: Mapping[str, str] | None = None, *, own_pid: int | None = None) -> Supervision:
    """NOTIFY_SOCKET, WATCHDOG_USEC and LISTEN_FDS, as far as they are meant for this process and not its parent."""
    environ = os.environ if environ is None else environ
    own = str(os.getpid() if own_pid is None else own_pid)
    watchdog, sockets = environ.get("WATCHDOG_USEC", ""), environ.get("LISTEN_FDS", "")
    watched = watchdog.isdecimal() and int(watchdog) > 0 and environ.get("WATCHDOG_PID", own) == own
    return Supervision(
        notify_socket=environ.get("NOTIFY_SOCKET") or None,
        watchdog_seconds=int(watchdog) / 1_000_000 if watched else None,
        passed_sockets=int(sockets) if sockets.isdecimal() and environ.get("LISTEN_PID") == own else 0,
    )


def environment_without_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child that shall obey its config file alone: no NORDIQ_* but the key and the address."""
    environ = os.environ if environ is None else environ
    return {
        name: value for name, value in environ.items() if not name.startswith(_PREFIX) or name in _RESERVED_VARIABLES
    }


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Name a config file with --config.") from None
    except ValueError as error:  # bytes that are no UTF-8 too
        raise ConfigError(f"{path}: is not YAML as it is read here: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold sections such as `server:`, found {type(tree).__name__}")
    return tree


def _override(tree: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Writes NORDIQ_* values into the tree; returns key → variable, so that errors can name the variable."""
    sources: dict[str, str] = {}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or variable in _RESERVED_VARIABLES:
            continue
        keys = variable.removeprefix(_PREFIX).lower().split("__")
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
            if not isinstance(branch, dict):
                raise ConfigError(f"{variable}: {'.'.join(keys[:-1])} is not a section")
        branch[keys[-1]] = _parse_variable(variable, keys, text)
        sources[".".join(keys)] = variable
    return sources


def _parse_variable(variable: str, keys: list[str], text: str) -> Any:
    if keys in (["metrics"], ["auth", "public"]) and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return load_yaml(text)
    except ValueError:
        raise ConfigError(f"{variable}={text!r}: cannot be read as a value") from None


_to_config = converter(Config)

_AT_KEY = re.compile(r"^(?P<problem>.*?)(?: - at (?P<name>`key` in )?`\$\.?(?P<key>[^`]*)`)?$", re.DOTALL)


def _convert(tree: dict[str, Any], path: Path, sources: Mapping[str, str]) -> Config:
    try:
        return _to_config(tree)
    except msgspec.ValidationError as error:
        match = _AT_KEY.match(str(error))
        assert match is not None  # the pattern matches any text
        problem, key = match["problem"], match["key"] or ""
        if match["name"]:
            place = key or "the file"
            raise ConfigError(f"{path}: {place} has a name that cannot be used: {_plain(problem)}") from None
        unknown = re.fullmatch(r"Object contains unknown field `(.*)`", problem)
        if unknown:
            key = f"{key}.{unknown[1]}".lstrip(".")
            section = _section_at(key.rpartition(".")[0])
            allowed = ", ".join(section.__struct_fields__)
            raise ConfigError(f"{_place(key, path, sources)}: unknown key {key!r}; allowed here: {allowed}") from None
        raise ConfigError(
            f"{_place(key, path, sources)}: {key} is {_value_at(tree, key)!r}, but: {_plain(problem)}"
        ) from None


def _place(key: str, path: Path, sources: Mapping[str, str]) -> str:
    return sources.get(key.partition("[")[0], str(path))


def _section_at(key: str) -> type[Struct]:
    section: type[Struct] = Config
    for part in filter(None, key.replace("[...]", "[]").split(".")):
        name, *inside = part.split("[]")
        default = getattr(section(), name)
        for _ in inside:  # any entry of a table: all are alike
            default = next(iter(default.values()))
        section = type(default)
    return section


def _value_at(tree: Any, key: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", key):
        if part == "...":
            break
        try:
            tree = tree[int(part)] if isinstance(tree, list) else tree[part]
        except (KeyError, IndexError, TypeError, ValueError):
            break
    return tree


def _plain(problem: str) -> str:
    """msgspec's words, with Python's type names put into YAML's."""
    for word, plain in (
        ("`str`", "text"),
        ("`int`", "a whole number"),
        ("`float`", "a number"),
        ("`bool`", "true/false"),
        ("`object`", "a section"),
        ("`null`", "nothing"),
    ):
        problem = problem.replace(word, plain)
    return problem[0].lower() + problem[1:]


def _check_consistency(config: Config, path: Path) -> None:
    _check_thresholds(config, path)
    _check_proxy(config, path)
    twice = {name for name in config.metrics if config.metrics.count(name) > 1}
    if twice:
        raise ConfigError(f"{path}: metrics names {', '.join(sorted(twice))} twice; name each once")
    mapped = {*config.feeders.prometheus.metrics, *config.feeders.telegraf.metrics}
    if mapped - set(config.metrics):
        raise ConfigError(
            f"{path}: feeders has a rule for {', '.join(sorted(mapped - set(config.metrics)))}, which is not in metrics"
        )
    reserved = _RECORD_FIELDS.intersection(config.metrics)
    if reserved:
        raise ConfigError(
            f"{path}: metrics names {', '.join(sorted(reserved))}, which a record uses for something else"
        )
    if config.training.max_encoder_length > config.window.length:
        raise ConfigError(
            f"{path}: training.max_encoder_length is {config.training.max_encoder_length}, but window.length is "
            f"{config.window.length}: such a model could never be loaded. Make the window as long as the encoder."
        )


def _check_proxy(config: Config, path: Path) -> None:
    proxy = config.server.trusted_proxy
    try:
        if proxy is not None:
            ipaddress.ip_address(proxy)
    except ValueError:
        raise ConfigError(f"{path}: server.trusted_proxy is {proxy!r}, which is no IP address") from None


def _check_thresholds(config: Config, path: Path) -> None:
    tables = {"thresholds": config.risk.thresholds}
    tables |= {f"profiles.{profile}": table for profile, table in config.risk.profiles.items()}
    for place, table in tables.items():
        for metric, threshold in table.items():
            numbers = [] if threshold is None else list(msgspec.structs.astuple(threshold))
            if numbers not in (sorted(set(numbers)), sorted(set(numbers), reverse=True)):
                raise ConfigError(
                    f"{path}: risk.{place}.{metric} is {', '.join(f'{number:g}' for number in numbers)}; calm, "
                    "degraded, warning and critical must each be above the one before (or below, where low is bad)"
                )
