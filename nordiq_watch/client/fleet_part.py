"""Which part of the fleet a program wants to read."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from nordiq_watch.errors import ClientError


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPart:
    """Servers by name, profile, label, or with at least this risk; and of them these metrics and fields. None: all.

    labels: `NAME:VALUE` each; of one name any of its values, of several names all.

    fields: `current`, `p10`, `p50`, `p90`, `trend`; `display_metrics`, `profile`, `risk_score`, `alert`.
    """

    servers: Collection[str] | None = None
    profiles: Collection[str] | None = None
    labels: Collection[str] | None = None
    min_risk: float | None = None
    metrics: Collection[str] | None = None
    fields: Collection[str] | None = None

    def query(self) -> dict[str, str]:
        """The parameters of the URL. ClientError for names that no list in a URL can hold."""
        lists = {
            "servers": self.servers,
            "profile": self.profiles,
            "label": self.labels,
            "metrics": self.metrics,
            "fields": self.fields,
        }
        query = {name: _join(name, names) for name, names in lists.items() if names is not None}
        return query if self.min_risk is None else {**query, "min_risk": f"{self.min_risk:.9f}"}


WHOLE = FleetPart()


def _join(parameter: str, names: Collection[str]) -> str:
    if not names or isinstance(names, str) or any("," in name or not name for name in names):
        raise ClientError(f"{parameter} is {names!r:.60}; must be names without a comma, at least one")
    return ",".join(names)
