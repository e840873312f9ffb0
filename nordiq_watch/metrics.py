"""What is known about metrics: one table, used to check samples, to fill charts and to judge forecasts."""

from __future__ import annotations

from dataclasses import dataclass

SENSOR_OVERSHOOT_PCT = 110.0
"""Real sensors report a percentage a little above 100; up to here it is kept as 100, beyond it is refused."""

LARGEST_MEASUREMENT = 1e12
"""The upper end of every metric that has none by nature: what lies beyond is a sender's fault, and one such value in an
encoder would make a network's arithmetic overflow.
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


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the fleet. Values outside [low, high] cannot be true; `accepted_high` is where refusing begins."""

    name: str
    unit: str
    low: float = 0.0
    high: float = LARGEST_MEASUREMENT

    @property
    def is_open_ended(self) -> bool:
        """Whether `high` is only the end of what is accepted, and says nothing of what is much for this metric."""
        return self.high == LARGEST_MEASUREMENT

    @property
    def accepted_high(self) -> float:
        return SENSOR_OVERSHOOT_PCT if self.unit == "%" else self.high


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
    return Metric(name, _UNITS.get(name, ""))


def profile_of(server_name: str) -> str:
    """The profile that a server's name implies when no record gave one."""
    for prefix, profile in PROFILE_BY_PREFIX.items():
        if server_name.startswith(prefix):
            return profile
    return DEFAULT_PROFILE


def status_code(status: str | None) -> int:
    """The code of a status; anything that is not in the list is unknown."""
    try:
        return STATUSES.index(status) if status else UNKNOWN_STATUS
    except ValueError:
        return UNKNOWN_STATUS
