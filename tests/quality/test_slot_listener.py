"""Cascades and drift on real days of a real fleet, with a band around the last value for a forecast."""

from __future__ import annotations

import numpy as np
import pytest
from support.fleet import INTERVAL_SECONDS, METRICS, RealFleet, needs_google_fleet
from support.forecasts import make_forecast

from nordiq_watch.config.quality import CascadeSettings, DriftSettings
from nordiq_watch.events import FleetForecast
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.quality.residuals import OneStepForecasts
from nordiq_watch.quality.slot_listener import SlotListener
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import Measured, WindowSnapshot

pytestmark = needs_google_fleet

DAY, HOUR, SLOTS = 288, 12, 96
BEGIN = 4 * DAY
SURGE = BEGIN + 6 * HOUR
HIT = 24  # of 60 servers


class Day:
    """One day of the fleet, slot by slot."""

    def __init__(self, fleet: RealFleet, values: FloatArray) -> None:
        self.fleet, self.values = fleet, values.astype(np.float32)
        changes = np.abs(np.diff(self.values[:, :BEGIN], axis=1))
        self.band = np.quantile(changes, 0.8, axis=1)  # (servers, metrics): one slot's change stays within in 80 %
        statistics = {
            metric: describe(self.values[:, :BEGIN, column].reshape(-1)) for column, metric in enumerate(METRICS)
        }
        self.drift = DriftWatch(DriftSettings(), statistics=lambda: statistics, interval_seconds=INTERVAL_SECONDS)
        self.cascade = CascadeWatch(CascadeSettings(), interval_seconds=INTERVAL_SECONDS)
        self.watch = SlotListener(OneStepForecasts(self.measured), self.drift, self.cascade)

    def measured(self, slot: int) -> Measured:
        return Measured(self.fleet.servers, METRICS, self.values[:, slot - self.fleet.first_slot])

    def see(self, slot: int) -> None:
        window = self.values[:, slot - SLOTS + 1 : slot + 1]
        last = window[:, -1, :, None, None]
        bands = last + self.band[:, :, None, None] * np.array([-1, 0, 1], dtype=np.float32)
        last_slot = self.fleet.first_slot + slot
        servers = self.fleet.servers
        snapshot = WindowSnapshot(
            servers=servers,
            profiles=("Generic",) * len(servers),
            metrics=METRICS,
            interval_seconds=INTERVAL_SECONDS,
            last_slot=last_slot,
            values=window,
            statuses=np.zeros(window.shape[:2], np.uint8),
        )
        ahead = make_forecast(servers, bands, targets=METRICS, origin_slot=last_slot)
        self.watch.note(FleetForecast(Forecasting(snapshot, ahead)))


def describe(values: FloatArray) -> dict[str, object]:
    edges = np.quantile(values, np.arange(1, 10) / 10)
    return {"edges": edges.tolist(), "shares": [0.1] * 10, "mean": float(values.mean())}


@pytest.fixture(scope="module")
def fleet() -> RealFleet:
    return RealFleet()


def test_a_quiet_day_has_hardly_a_cascade_and_no_significant_drift(fleet: RealFleet) -> None:
    day = Day(fleet, fleet.values)
    healths, cascades = [], 0
    for slot in range(BEGIN, BEGIN + DAY):
        day.see(slot)
        cascades += bool(day.cascade.report.active)
        healths.append(day.cascade.report.health or 100.0)
    assert cascades <= 3  # some of these machines are replicas, and now and then step together
    assert np.median(healths) > 90
    assert day.drift.report.prediction_error_rate == pytest.approx(0.2, abs=0.03)
    assert day.drift.report.status != "significant"


def test_a_surge_on_a_part_of_the_fleet_is_a_cascade_at_once(fleet: RealFleet) -> None:
    values = fleet.values.copy()
    values[:HIT, SURGE : SURGE + 6, 0] += 40
    day = Day(fleet, values.clip(None, 100))
    seen = {}
    for slot in range(SURGE - HOUR, SURGE + HOUR):
        day.see(slot)
        for found in day.cascade.report.active.values():
            seen[slot] = (found.direction, set(found.affected))
    begin, end = SURGE + 1, SURGE + 6 + 1  # told when the slot is over
    assert seen[begin][0] == "up"
    assert set(map(str, fleet.servers[:HIT])) <= set(map(str, seen[begin][1]))
    assert seen[end][0] == "down"
    assert set(seen) == {begin, end}


def test_a_fleet_that_is_busier_than_it_was_has_drifted(fleet: RealFleet) -> None:
    values = fleet.values.copy()
    values[:, BEGIN - SLOTS :, 0] += 15
    day = Day(fleet, values.clip(None, 100))
    day.see(BEGIN)
    report = day.drift.report
    assert report.status == "significant"
    assert (report.metrics["cpu_user_pct"].psi or 0) > 0.25 > (report.metrics["mem_used_pct"].psi or 0)
