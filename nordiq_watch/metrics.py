"""The table of metrics: used to check samples, to scale charts and to judge forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

SENSOR_OVERSHOOT_PCT = 110.0
"""Real sensors report percentages slightly above 100; up to here they are stored as 100, beyond they are refused."""

SENSOR_UNDERSHOOT_PCT = -1.0
"""Differences of counters make percentages slightly below 0. Above this they are stored as 0, from here on they are
refused: -1 is what many programs say when they do not know.
"""

_ROUNDING_PCT = 1e-4
"""A share of 1.1 in single precision, times 100, is 110.0000024."""

LARGEST_MEASUREMENT = 1e12
"""Upper end of every metric without a natural one. Larger values are a sender's fault, and one of them in an encoder
would overflow a network's arithmetic.
"""

STATUSES = (
    "unknown",
    "healthy",
    "critical_issue",
    "heavy_load",
    "idle",
    "maintenance",
    "morning_spike",
    "offline",
    "recovery",
)
"""Values of a sample's `status`; the position is its code in the window and in the journal. Never reorder."""

UNKNOWN_STATUS = 0

PROFILE_BY_PREFIX = {
    "ppdb": "Database",
    "ppml": "ML Compute",
    "ppapi": "Web API",
    "ppweb": "Web API",
    "ppcon": "Conductor Mgmt",
    "ppetl": "ETL/Ingest",
    "pprisk": "Risk Analytics",
}
DEFAULT_PROFILE = "Generic"
_ALIASES = {
    "database": "Database",
    "ml_compute": "ML Compute",
    "web_api": "Web API",
    "conductor_mgmt": "Conductor Mgmt",
    "data_ingest": "ETL/Ingest",
    "risk_analytics": "Risk Analytics",
    "generic": DEFAULT_PROFILE,
}
"""Other programs' spellings of our profiles, in small letters with underscores."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the fleet. Values outside [low, high] are impossible; those from `accepted_low` to
    `accepted_high` are kept as the nearer end, others are refused.

    aggregate: what a slot with several samples holds, one of AGGREGATES, where `window.aggregate` does not say.
    """

    name: str
    unit: str
    low: float = 0.0
    high: float = LARGEST_MEASUREMENT
    aggregate: str = "mean"

    @property
    def is_open_ended(self) -> bool:
        """True if `high` is only the limit of acceptance and does not mark a high load."""
        return self.high == LARGEST_MEASUREMENT

    @property
    def accepted_low(self) -> float:
        return SENSOR_UNDERSHOOT_PCT + _ROUNDING_PCT if self.unit == "%" else self.low

    @property
    def accepted_high(self) -> float:
        return SENSOR_OVERSHOOT_PCT + _ROUNDING_PCT if self.unit == "%" else self.high


AGGREGATES = ("mean", "last", "max")
"""What becomes of the samples of one slot: their mean, the newest of them, or the largest."""

_AGGREGATES = {"uptime_days": "last"}
"""The mean of percentages, rates, loads and counts says what the slot was like. An age falls back at a restart: the
mean of days before it and seconds after it would be the age of nothing.
"""

_UNITS = {
    "net_in_mb_s": "MB/s",
    "net_out_mb_s": "MB/s",
    "back_close_wait": "connections",
    "front_close_wait": "connections",
    "load_average": "load",
    "uptime_days": "days",
}


def describe(name: str) -> Metric:
    """The metric called `name`. A name that ends in `_pct` is a percentage; all others count from zero upwards."""
    if name.endswith("_pct"):
        return Metric(name, "%", high=100.0)
    return Metric(name, _UNITS.get(name, ""), aggregate=_AGGREGATES.get(name, "mean"))


def profile_of(server_name: str) -> str:
    """The profile that a server's name implies when no record gave one."""
    for prefix, profile in PROFILE_BY_PREFIX.items():
        if server_name.startswith(prefix):
            return profile
    return DEFAULT_PROFILE


@lru_cache(maxsize=4096)
def shown_profile(label: str) -> str:
    """The profile that a label stands for, in thresholds and answers: ours for another spelling of it, such as
    `ml_compute` or `Web-API`, else the label itself. Networks read the label as it was sent.
    """
    return _ALIASES.get(label.lower().replace("-", "_").replace(" ", "_"), label)


def status_code(status: str | None) -> int:
    """The code of a status; anything that is not in the list is unknown."""
    try:
        return STATUSES.index(status) if status else UNKNOWN_STATUS
    except ValueError:
        return UNKNOWN_STATUS
