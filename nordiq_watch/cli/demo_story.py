"""What is told while the demo lives on: alerts that begin and end, and forecasts beside what was then measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nordiq_watch.client.answers import Alert, FleetForecast, MetricForecast
from nordiq_watch.client.client import Client
from nordiq_watch.client.fleet_part import FleetPart

STEPS_AHEAD = 12
METRIC = "cpu_user_pct"


@dataclass(frozen=True, slots=True)
class _Promise:
    """What was forecast of one server's METRIC for the slot that begins at `due` (Unix time)."""

    server: str
    due: float
    seconds_before: float
    p10: float
    p50: float
    p90: float


class Story:
    """`look()` yields what is new since the last look, as lines for people. One server's forecast at a time is followed
    until it comes due, then the next server's.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._alerts: dict[str, Alert] = {}
        self._promise: _Promise | None = None
        self._turn = 0

    def look(self) -> Iterator[str]:
        """Raises ClientError if the daemon does not answer."""
        yield from self._look_at_alerts()
        forecast = self._client.predictions(FleetPart(metrics=(METRIC,)))
        if forecast.servers:
            yield from self._look_at_forecast(forecast)

    def _look_at_alerts(self) -> Iterator[str]:
        now = {alert.server_name: alert for alert in self._client.alerts()}
        for name, alert in now.items():
            before = self._alerts.get(name)
            if before is None or before.level != alert.level:
                yield f"{alert.level:<9} {name}: {alert.message}"
        for name in self._alerts.keys() - now.keys():
            yield f"{'over':<9} {name}: the alert has ended"
        self._alerts = now

    def _look_at_forecast(self, forecast: FleetForecast) -> Iterator[str]:
        interval = forecast.metadata["interval_seconds"]
        begin = datetime.fromisoformat(forecast.metadata["horizon_start"]).timestamp()
        promise = self._promise
        if promise is not None and begin - interval < promise.due:
            return
        if promise is not None and begin - interval == promise.due and promise.server in forecast.servers:
            yield from _compare(promise, forecast.servers[promise.server].metrics[METRIC].current)
        names = sorted(forecast.servers)
        server = names[self._turn % len(names)]
        self._turn += 1
        self._promise = _read_promise(server, forecast.servers[server].metrics[METRIC], begin, interval)


def _read_promise(server: str, metric: MetricForecast, begin: float, interval: float) -> _Promise | None:
    step = min(STEPS_AHEAD, len(metric.p50)) - 1
    if step < 0:
        return None
    quantiles = metric.p10[step], metric.p50[step], metric.p90[step]
    return _Promise(server, begin + step * interval, (step + 1) * interval, *quantiles)


def _compare(promise: _Promise, measured: float | None) -> Iterator[str]:
    if measured is not None:
        outcome = "came true" if promise.p10 <= measured <= promise.p90 else "missed"
        yield (
            f"{outcome:<9} {promise.server}: CPU is {measured:.1f} %; {promise.seconds_before:.0f} s ago the forecast "
            f"was {promise.p50:.1f} % ({promise.p10:.1f} to {promise.p90:.1f})"
        )
