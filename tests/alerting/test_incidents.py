"""Incidents put into real days of a real fleet: who is told of what, and when.

The forecast here is a damped trend (Gardner and McKenzie, Management Science 31, 1985): it goes on as the last hour
went, slower and slower, with a band of what the hour scattered. benchmarks/alerts.py does the same with a trained
network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from support.fleet import INTERVAL_SECONDS, METRICS, RealFleet, needs_google_fleet
from support.forecasts import make_forecast
from support.length import at_length

from nordiq_watch.alerting.active_alerts import ActiveAlerts
from nordiq_watch.alerting.risk import assess_fleet
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.config.schema import AlertSettings, RiskSettings
from nordiq_watch.ingest.attendance import attendance_of
from nordiq_watch.records.alerts import AlertChange
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import WindowSnapshot

pytestmark = [pytest.mark.slow, needs_google_fleet]

SLOTS, HORIZON, HOUR, DAY = 48, 96, 12, 288
BEGIN = 4 * DAY
CPU, MEMORY = 0, 1
CRITICAL = 95.0
VICTIM = 7
DAMPING = 0.97


@pytest.fixture(scope="module")
def fleet() -> RealFleet:
    return RealFleet()


@dataclass(frozen=True)
class Told:
    """A change, and the slot in which it was told."""

    slot: int
    change: AlertChange


def going_on(values: FloatArray) -> FloatArray:
    """(servers, slots, metrics) → (servers, metrics, HORIZON, 3): the last hour's damped trend."""
    hour = np.nan_to_num(values[:, -HOUR:], nan=0.0)
    steps = np.arange(HOUR) - (HOUR - 1) / 2
    slope = np.einsum("shm,h->sm", hour, steps) / (steps @ steps)
    line = hour.mean(axis=1)[:, None] + slope[:, None] * steps[:, None]
    scatter = 1.3 * (hour - line).std(axis=1)
    ahead = np.cumsum(DAMPING ** np.arange(1, HORIZON + 1))
    p50 = hour[:, -1, :, None] + slope[..., None] * ahead
    bands = np.stack([p50 - scatter[..., None], p50, p50 + scatter[..., None]], axis=-1)
    return bands.clip(0, 100).astype(np.float32)


def replay(fleet: RealFleet, values: FloatArray, slots: int = DAY) -> Iterator[Told]:
    """The alerts of `slots` slots, with an answer a slot."""
    table, rules = ThresholdTable(RiskSettings(), METRICS), AlertSettings()
    book = ActiveAlerts(rules)
    for now in range(BEGIN, BEGIN + slots):
        window = values[:, now - SLOTS + 1 : now + 1]
        last_slot = fleet.first_slot + now
        snapshot = WindowSnapshot(
            servers=fleet.servers,
            profiles=("Generic",) * len(fleet.servers),
            metrics=METRICS,
            interval_seconds=INTERVAL_SECONDS,
            last_slot=last_slot,
            values=window,
            statuses=np.zeros(window.shape[:2], np.uint8),
        )
        ahead = make_forecast(fleet.servers, going_on(window), targets=METRICS, origin_slot=last_slot)
        made = Forecasting(snapshot, ahead)
        risk = assess_fleet(made, table, current_weight=0.7, silent_seconds=3600)
        for change in book.update(risk, attendance_of(snapshot), at=(last_slot + 1) * INTERVAL_SECONDS):
            yield Told(now, change)


def with_incident(fleet: RealFleet, happen: Callable[[FloatArray], None]) -> FloatArray:
    """A copy of the fleet's values; `happen` gets the part that begins two hours into the replay."""
    values = fleet.values.copy()
    happen(values[:, BEGIN + 2 * HOUR :])
    return values.clip(None, 100)


def first_at_threshold(values: FloatArray, server: int, metric: int) -> int:
    return BEGIN + int(np.argmax(values[server, BEGIN:, metric] >= CRITICAL))


@pytest.mark.long
def test_quiet_days_are_quiet(fleet: RealFleet) -> None:
    assert list(replay(fleet, fleet.values, slots=at_length(4, short=1) * DAY)) == []


def test_a_memory_leak_is_told_before_the_threshold_is_reached(fleet: RealFleet) -> None:
    def leak(values: FloatArray) -> None:
        values[VICTIM, :, MEMORY] += 0.6 * np.arange(values.shape[1])

    values = with_incident(fleet, leak)
    told = list(replay(fleet, values))
    assert {entry.change.alert.server_name for entry in told} == {fleet.servers[VICTIM]}
    changes = [(entry.change.change, entry.change.alert.level) for entry in told]
    assert changes == [("raised", "degraded"), ("escalated", "warning"), ("escalated", "critical")]
    reached = first_at_threshold(values, VICTIM, MEMORY)
    _, warning, critical = (entry.slot for entry in told)
    assert reached - warning >= 12  # an hour
    assert critical < reached
    alert = told[1].change.alert
    assert alert.metric == "mem_used_pct"
    assert alert.time_to_issue_basis == "p50"
    assert alert.time_to_issue is not None
    assert alert.time_to_issue >= (reached - warning) * INTERVAL_SECONDS  # a damped trend is never too early


def test_a_runaway_process_is_told_at_once_and_its_end_too(fleet: RealFleet) -> None:
    def run_away(values: FloatArray) -> None:
        values[VICTIM, :HOUR, CPU] = 99

    told = list(replay(fleet, with_incident(fleet, run_away)))
    assert {entry.change.alert.server_name for entry in told} == {fleet.servers[VICTIM]}
    begin = BEGIN + 2 * HOUR
    assert (told[0].slot, told[0].change.alert.level, told[0].change.alert.metric) == (
        begin,
        "critical",
        "cpu_user_pct",
    )
    assert told[-1].change.change == "resolved"
    assert begin + HOUR + 2 <= told[-1].slot <= begin + HOUR + 12
    assert len(told) <= 4  # on the way down it may stop at a level or two


def test_a_surge_is_told_for_each_server_that_it_meets(fleet: RealFleet) -> None:
    hit = list(range(0, 60, 3))

    def surge(values: FloatArray) -> None:
        values[hit, :6, CPU] = values[hit, :6, CPU] * 0.1 + 90

    told = list(replay(fleet, with_incident(fleet, surge)))
    raised = {entry.change.alert.server_name for entry in told if entry.change.change == "raised"}
    assert raised == {fleet.servers[server] for server in hit}
    assert {entry.slot for entry in told if entry.change.change == "raised"} == {BEGIN + 2 * HOUR}


def test_a_host_that_is_gone_is_told_within_the_quarter_of_an_hour(fleet: RealFleet) -> None:
    def vanish(values: FloatArray) -> None:
        values[VICTIM] = np.nan

    (only,) = replay(fleet, with_incident(fleet, vanish), slots=4 * HOUR)
    alert = only.change.alert
    assert (only.change.change, alert.kind, alert.level) == ("raised", "silent", "critical")
    assert (alert.server_name, only.slot) == (fleet.servers[VICTIM], BEGIN + 2 * HOUR + 2)
