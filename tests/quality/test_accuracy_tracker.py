from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fleets import A_SLOT, made_of
from support.forecasts import MODEL
from support.optional import not_none
from support.trouble import Clock, blocked

from nordiq_watch.events import BaselineForecast, FleetForecast
from nordiq_watch.quality.accuracy_tracker import AccuracyTracker
from nordiq_watch.quality.adaptive_bands import AdaptiveBands
from nordiq_watch.records.accuracy import AccuracyKey, BandState
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import Measured
from nordiq_watch.storage.accuracy import AccuracyStore
from nordiq_watch.storage.store import RETRY_SECONDS

OTHER = ModelIdentity("tft_model_20250131_143000", 4, "cd" * 32)


class Office:
    """A bookkeeper over one file; what came in a slot is its distance from A_SLOT, what is forecast 100 less."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.options = {"horizons_seconds": (300, 900), "max_servers": 10, **options}
        self.oldest = A_SLOT - 100
        self.clock = Clock()
        self.open()

    def open(self) -> None:
        """As after a restart: only the file is remembered."""
        self.store = AccuracyStore(self.path, interval_seconds=300, timer=self.clock)
        self.bands = AdaptiveBands(self.options["horizons_seconds"], enabled=True)
        self.keeper = AccuracyTracker(self.store, measured=self.measured, bands=self.bands, **self.options)

    def measured(self, slot: int) -> Measured | None:
        if slot < self.oldest:
            return None
        return Measured(("s0",), ("mem_used_pct",), np.array([[slot - A_SLOT]], dtype=np.float32))

    def forecast(
        self, slot: int, *, model: ModelIdentity = MODEL, value: float = 50, factor: float | None = None
    ) -> None:
        """factor: of an adaptive band."""
        made = made_of([[1.0]], [[[value, value, value, value]]], last_slot=A_SLOT + slot, model=model)
        if factor is not None:
            factors = np.full((1, 4), factor, dtype=np.float32)
            made = replace(made, forecast=replace(made.forecast, factors=factors))
        self.keeper.note(FleetForecast(made))
        self.keeper.step()

    def band(self, model: ModelIdentity = MODEL) -> BandState | None:
        return self.bands.states.get(AccuracyKey(model.name, model.sha256, "mem_used_pct", 300))

    def points(self, horizon: int = 300, model: ModelIdentity = MODEL) -> int:
        all_totals = {(totals.key.model, totals.key.horizon_seconds): totals for totals in self.keeper.all_totals}
        totals = all_totals.get((model.name, horizon))
        return totals.sums.points if totals else 0


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state" / "accuracy.sqlite3")
    yield opened
    opened.store.close()


def test_a_forecast_is_scored_once_its_slot_and_the_next_are_over(office: Office) -> None:
    counts = []
    for slot in range(7):
        office.forecast(slot)
        counts.append((office.points(300), office.points(900)))
    assert counts == [(0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (3, 1), (4, 2)]
    totals = office.keeper.all_totals[0]
    assert totals.sums.absolute_error == sum(50 - slot for slot in range(1, 5))
    assert totals.sums.last_absolute_error == sum(slot - 1 for slot in range(1, 5))


def test_of_many_forecasts_in_one_slot_the_last_counts(office: Office) -> None:
    for value in (10, 20, 30):
        office.forecast(0, value=value)
    for slot in range(1, 4):
        office.forecast(slot)
    assert office.keeper.all_totals[0].sums.absolute_error == 29


def test_a_swap_in_the_middle_of_a_slot_keeps_the_books_apart(office: Office) -> None:
    office.forecast(0)
    office.forecast(1)
    office.forecast(1, model=OTHER)
    for slot in range(2, 6):
        office.forecast(slot, model=OTHER)
    assert (office.points(model=MODEL), office.points(model=OTHER)) == (2, 2)
    office.forecast(5)  # back again: its book goes on
    for slot in range(6, 9):
        office.forecast(slot)
    assert (office.points(model=MODEL), office.points(model=OTHER)) == (3, 5)


def test_exactly_once_over_restarts_at_any_moment(office: Office) -> None:
    for slot in range(8):
        office.forecast(slot)
        office.store.close()  # a crash: what was not written is gone, and made again from the restored window
        office.open()
        office.forecast(slot)
    office.forecast(8)
    assert (office.points(300), office.points(900)) == (6, 4)


def test_a_band_that_adapts_learns_from_what_came_due(office: Office) -> None:
    for slot in range(4):
        office.forecast(slot, factor=1.0)
    first = not_none(office.band())
    assert first.points == 1
    assert first.factor > 1.0  # the forecast is far off
    office.forecast(4, factor=first.factor)
    assert not_none(office.band()).factor > first.factor
    assert office.band(OTHER) is None


def test_a_band_that_does_not_adapt_learns_nothing(office: Office) -> None:
    for slot in range(6):
        office.forecast(slot)
    assert office.points() == 3
    assert office.band() is None


def test_a_band_learns_exactly_once_over_restarts(office: Office, tmp_path: Path) -> None:
    for slot in range(8):
        office.forecast(slot, factor=1.0)
        office.store.close()
        office.open()
        office.forecast(slot, factor=1.0)
    state = office.band()
    undisturbed = Office(tmp_path / "other.sqlite3")
    for slot in range(8):
        undisturbed.forecast(slot, factor=1.0)
    undisturbed.store.close()
    assert state == undisturbed.band()


def test_each_version_goes_on_with_its_own_band_after_a_swap_and_back(office: Office) -> None:
    for slot in range(4):
        office.forecast(slot, factor=1.0)
    before = not_none(office.band())
    for slot in range(4, 8):
        office.forecast(slot, model=OTHER, factor=1.0)
    assert not_none(office.band(OTHER)).points == pytest.approx(1.0, abs=0.01)
    assert not_none(office.band()).points == pytest.approx(before.points + 3, abs=0.1)  # what was pending at the swap


def test_what_is_claimed_of_a_forgotten_server_does_not_count_for_a_new_one_of_its_name(office: Office) -> None:
    office.forecast(0)
    office.forecast(1)
    order = office.keeper.forget("s0")
    office.keeper.step()
    assert order.result(0) is True
    for slot in range(2, 7):
        office.forecast(slot)
    assert office.points() == 2, "of slots 3 and 4: what was forecast in 0 and 1 is forgotten"
    order = office.keeper.forget("unknown")
    office.keeper.step()
    assert order.result(0) is False


def test_what_the_window_no_longer_holds_is_lost_and_counted(office: Office) -> None:
    office.forecast(0)
    office.forecast(1)
    office.oldest = A_SLOT + 2
    office.forecast(50)
    assert (office.points(300), office.keeper.expired) == (1, 1)


def test_a_clock_that_is_put_right_does_not_stop_the_books(office: Office) -> None:
    for slot in range(4):
        office.forecast(slot)
    for slot in range(300, 304):  # a day ahead
        office.forecast(slot)
    ahead = office.points()
    for slot in range(4, 9):
        office.forecast(slot)
    assert office.points() == ahead + 2  # the forecasts of slots 4 and 5, as ever
    assert office.store.pending() == 2 + 4  # nothing from ahead


def test_a_disk_that_refuses_is_asked_again(office: Office, caplog: Any) -> None:
    office.forecast(0)
    with blocked(office.path.parent):
        for slot in range(1, 5):
            office.forecast(slot)
        assert office.points() == 0
        told = [line for line in caplog.messages if line.startswith("the accuracy does not work")]
        assert len(told) == len(set(told)) == 2  # the file is gone, then it cannot be made: each reason once
    office.clock.now += RETRY_SECONDS
    office.forecast(5)
    assert office.points(300) == 3
    assert office.store.part.works


def test_a_start_without_the_file_shows_its_books_when_it_is_there(office: Office) -> None:
    for slot in range(4):
        office.forecast(slot)
    office.store.close()
    with blocked(office.path.parent):
        office.open()
        assert office.keeper.all_totals == ()
        assert not office.store.part.works
    office.clock.now += RETRY_SECONDS
    office.keeper.step()
    assert office.points(300) == 1
    assert office.store.part.works


def test_forecasts_from_two_slots_and_a_clock_that_went_back_between_steps(office: Office) -> None:
    """All of it is handed over before the other thread looks: nothing from before the jump back is lost with it."""
    for slot in (0, 1, 300, 301, 2, 3):
        ahead = [[[50.0] * 4]]
        office.keeper.note(FleetForecast(made_of([[1.0]], ahead, last_slot=A_SLOT + slot)))
    office.keeper.step()
    for slot in range(4, 7):
        office.forecast(slot)
    assert (office.points(300), office.points(900)) == (4, 2)


def test_a_large_fleet_is_sampled(tmp_path: Path) -> None:
    office = Office(tmp_path / "accuracy.sqlite3", max_servers=3, horizons_seconds=(300,))
    made = made_of(np.ones((20, 1)), np.ones((20, 1, 1)), last_slot=A_SLOT)
    office.keeper.note(FleetForecast(made))
    office.forecast(1)
    ((_, pending),) = office.store.due(A_SLOT + 1)
    assert len(pending.servers) == 3
    office.store.close()


def test_the_thread_keeps_the_last_forecast_too(office: Office) -> None:
    thread = threading.Thread(target=office.keeper.run)
    thread.start()
    office.keeper.note(FleetForecast(made_of([[1.0]], [[[1.0] * 4]], last_slot=A_SLOT)))
    office.keeper.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert office.store.pending() == 2


def test_the_built_in_forecast_is_scored_beside_a_model_of_the_same_slots(office: Office) -> None:
    beside = ModelIdentity("baseline", 0, MODEL.sha256)
    for slot in range(7):
        office.forecast(slot)
        made = made_of([[1.0]], [[[10, 10, 10, 10]]], last_slot=A_SLOT + slot, model=beside)
        office.keeper.note(BaselineForecast(replace(made, whole=False)))
        office.keeper.step()
    assert office.points(300) == office.points(300, beside) == 4
    totals = {totals.key.model: totals for totals in office.keeper.all_totals if totals.key.horizon_seconds == 300}
    assert totals["baseline"].sums.absolute_error == sum(10 - slot for slot in range(1, 5))


def test_one_that_was_made_beside_an_older_forecast_sets_no_clock_back(office: Office) -> None:
    beside = ModelIdentity("baseline", 0, MODEL.sha256)
    for slot in range(7):
        office.forecast(slot)
        if slot:
            made = made_of([[1.0]], [[[10, 10, 10, 10]]], last_slot=A_SLOT + slot - 1, model=beside)
            office.keeper.note(BaselineForecast(replace(made, whole=False)))
            office.keeper.step()
    assert (office.points(300), office.points(300, beside)) == (4, 4)
