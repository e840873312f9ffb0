from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.fake_model import fake_servable
from support.forecasts import make_forecast
from support.optional import not_none

from nordiq_watch.live.bands import scale_bands
from nordiq_watch.live.servable import Servable
from nordiq_watch.quality.accuracy import make_pending
from nordiq_watch.quality.adaptive_bands import FACTORS, AdaptiveBands, follow
from nordiq_watch.records.accuracy import AccuracyKey, BandState, PendingForecast
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import Measured, WindowSnapshot
from nordiq_watch.spec import Extras

DAY = 288
HORIZONS = (1800, 28_800)
STEPS = 96
P90 = 1.2816  # of a normal distribution with the deviation 1
METRIC = "cpu_user_pct"


def calibrated_model(**changes: Any) -> Servable:
    extras = Extras(slots=8, calibrated=True)
    model, _ = fake_servable(format_version=2, extras=extras, max_prediction_length=STEPS, **changes)
    return model


def key(model: Servable, horizon: int, metric: str = METRIC) -> AccuracyKey:
    return AccuracyKey(model.name, model.identity.sha256, metric, horizon)


class Fleet:
    """Servers around 50 % with normal deviations; the model's own bands are right for a deviation of 2.

    spread: the deviations by slot, relative to that. lag: slots over which a server's deviations are correlated.
    """

    def __init__(self, spread: Callable[[int], float], *, servers: int = 30, lag: int = 0, days: int = 6) -> None:
        chance, self.model = np.random.default_rng(1), calibrated_model()
        self.names = tuple(f"s{number}" for number in range(servers))
        slots = days * DAY + STEPS
        shocks = chance.normal(size=(slots, servers))
        if lag:
            keep = np.exp(-1 / lag)
            for slot in range(1, slots):
                shocks[slot] = keep * shocks[slot - 1] + np.sqrt(1 - keep**2) * shocks[slot]
        self.values = 50 + 2 * shocks * np.array([spread(slot) for slot in range(slots)])[:, None]
        self.bands = AdaptiveBands(HORIZONS, enabled=True)
        self.due: dict[int, list[PendingForecast]] = {}
        self.covered: dict[int, list[float]] = {horizon: [] for horizon in HORIZONS}
        self.factors: dict[int, list[float]] = {horizon: [] for horizon in HORIZONS}

    def run(self, days: int) -> None:
        """Slot by slot, as the forecaster and the accuracy tracker do it."""
        begin = len(self.factors[HORIZONS[0]])
        for slot in range(begin, begin + days * DAY):
            self.forecast(slot)
            for pending in self.due.pop(slot - 2, []):
                self.score(pending)
            for horizon in HORIZONS:
                self.factors[horizon].append(self.factor(horizon))

    def forecast(self, slot: int) -> None:
        band = np.array([50 - 2 * P90, 50, 50 + 2 * P90], dtype=np.float32)
        own = make_forecast(
            self.names,
            np.broadcast_to(band, (len(self.names), 1, STEPS, 3)).copy(),
            targets=[METRIC],
            origin_slot=slot,
            model=self.model.identity,
        )
        served = scale_bands(own, self.bands.factors_for(self.model))
        now = self.values[slot].astype(np.float32)[:, None, None]
        statuses = np.zeros(now.shape[:2], dtype=np.uint8)
        snapshot = WindowSnapshot(self.names, ("",) * len(self.names), (METRIC,), 300, slot, now, statuses)
        rows = np.arange(len(self.names))
        for pending in make_pending(Forecasting(snapshot, served), horizons_seconds=HORIZONS, rows=rows):
            self.due.setdefault(pending.due_slot, []).append(pending)

    def score(self, pending: PendingForecast) -> None:
        truth = self.values[pending.due_slot]
        p10, p90 = pending.values[:, 0, 0], pending.values[:, 0, 2]
        self.covered[pending.horizon_seconds].append(float(((p10 <= truth) & (truth <= p90)).mean()))
        came = Measured(self.names, (METRIC,), truth.astype(np.float32)[:, None])
        self.bands.publish(self.bands.learn(pending, came))

    def factor(self, horizon: int) -> float:
        return self.bands.states.get(key(self.model, horizon), BandState()).factor

    def coverage(self, horizon: int, *, newest_slots: int = DAY) -> float:
        """What was served and came due last."""
        return float(np.mean(self.covered[horizon][-newest_slots:]))


def test_in_the_steady_state_bands_hold_what_they_promise_every_day() -> None:
    fleet = Fleet(lambda _: 1.0)
    for _ in range(3):
        fleet.run(days=1)
        for horizon in HORIZONS:
            assert fleet.coverage(horizon) == pytest.approx(0.8, abs=0.02)
    for horizon in HORIZONS:
        assert np.std(np.log(fleet.factors[horizon][DAY:])) < 0.03


@pytest.mark.slow
def test_deviations_that_last_for_hours_move_no_band_for_long() -> None:
    fleet = Fleet(lambda _: 1.0, lag=24, servers=60)
    fleet.run(days=5)
    for horizon in HORIZONS:
        assert fleet.coverage(horizon, newest_slots=4 * DAY) == pytest.approx(0.8, abs=0.02)
        assert np.std(np.log(fleet.factors[horizon])) < 0.06


@pytest.mark.slow
@pytest.mark.parametrize("after", [2.0, 0.6])
def test_after_a_shift_they_are_right_again_within_a_day(after: float) -> None:
    """Slowly, steadily, and without going too far."""
    fleet = Fleet(lambda slot: 1.0 if slot < DAY else after, servers=60)
    fleet.run(days=2)  # the first before the shift, the next to learn
    fleet.run(days=1)
    for horizon in HORIZONS:
        assert fleet.coverage(horizon) == pytest.approx(0.8, abs=0.02)
        assert fleet.factor(horizon) == pytest.approx(after, rel=0.06)
        by_hour = np.log(fleet.factors[horizon][DAY:]).reshape(-1, 12).mean(axis=1) / np.log(after)  # 0 to 1
        assert by_hour.max() < 1.1
        on_the_way = by_hour[: int(np.argmax(by_hour > 0.8))]
        assert len(on_the_way) >= 8
        assert (np.diff(on_the_way) > 0).all()
        assert by_hour[30:].std() < 0.06


@pytest.mark.slow
def test_a_single_server_s_bands_stay_near_their_place() -> None:
    fleet = Fleet(lambda _: 1.0, servers=1)
    fleet.run(days=6)
    assert fleet.coverage(1800, newest_slots=5 * DAY) == pytest.approx(0.8, abs=0.02)
    assert 0.75 < min(fleet.factors[1800]) < max(fleet.factors[1800]) < 1.35


@pytest.mark.parametrize(("spread", "bound"), [(100.0, FACTORS[1]), (0.01, FACTORS[0])])
def test_no_band_leaves_its_bounds(spread: float, bound: float) -> None:
    fleet = Fleet(lambda _: spread, servers=3)
    fleet.run(days=2)
    assert fleet.factor(1800) == bound


def test_the_coverage_shown_is_that_of_about_the_past_day_as_served() -> None:
    fleet = Fleet(lambda _: 1.0)
    fleet.run(days=3)
    state = fleet.bands.states[key(fleet.model, 1800)]
    assert state.coverage == pytest.approx(fleet.coverage(1800, newest_slots=2 * DAY), abs=0.01)
    assert BandState().coverage is None


def test_each_metric_and_version_has_its_own_band() -> None:
    bands, other = AdaptiveBands(HORIZONS, enabled=True), calibrated_model(name="tft_model_20250131_143000")
    model = calibrated_model()
    bands.publish({key(model, 1800): BandState(2.0)})
    assert not_none(bands.factors_for(model)).max() == 2.0
    np.testing.assert_array_equal(not_none(bands.factors_for(other)), np.ones((1, STEPS)))


def test_between_horizons_the_factor_is_interpolated() -> None:
    bands, model = AdaptiveBands(HORIZONS, enabled=True), calibrated_model()
    bands.publish({key(model, 1800): BandState(2.0), key(model, 28_800): BandState(0.5)})
    (factors,) = not_none(bands.factors_for(model))
    np.testing.assert_allclose(factors[:6], 2.0)  # up to 30 min
    np.testing.assert_allclose(factors[50], 1.0)  # half way: ln f is 0
    np.testing.assert_allclose(factors[-1], 0.5)
    assert (np.diff(factors[5:]) < 0).all()


def test_horizons_beyond_the_model_s_reach_do_not_count() -> None:
    model = calibrated_model(interval_seconds=600)
    far = 600 * STEPS + 600
    bands = AdaptiveBands((60, 1800, far), enabled=True)
    bands.publish({key(model, horizon): BandState(2.0) for horizon in (60, far)})
    np.testing.assert_array_equal(not_none(bands.factors_for(model)), np.ones((1, STEPS)))
    assert AdaptiveBands((60, far), enabled=True).factors_for(model) is None


def test_without_a_calibration_table_or_when_turned_off_nothing_adapts() -> None:
    plain, _ = fake_servable(max_prediction_length=STEPS)
    blend, _ = fake_servable(format_version=2, extras=Extras(members=("linear",), slots=8), max_prediction_length=STEPS)
    for model, enabled in ((plain, True), (blend, True), (calibrated_model(), False)):
        bands = AdaptiveBands(HORIZONS, enabled=enabled)
        assert not bands.is_adaptive(model)
        assert bands.factors_for(model) is None


def test_turned_off_nothing_is_learned_or_shown() -> None:
    bands = AdaptiveBands((300,), enabled=False)
    bands.publish({AccuracyKey("m", "ab", METRIC, 300): BandState(2.0)})  # of a time when it was on
    assert bands.states == {}
    due = pending([[40, 50, 60]])
    assert bands.learn(due, Measured(due.servers, (METRIC,), np.array([[70.0]], dtype=np.float32))) == {}


def pending(values: list[list[float]], factors: tuple[float, ...] | None = (1.0,)) -> PendingForecast:
    """values: p10, p50, p90 of each server."""
    shown = np.array([[[*band, 0.0]] for band in values], dtype=np.float32)
    names = tuple(f"s{number}" for number in range(len(values)))
    return PendingForecast("m", "ab", 1, 2, 300, 300, names, (METRIC,), shown, factors)


def learn(due: PendingForecast, *truth: float) -> BandState | None:
    came = Measured(due.servers, (METRIC,), np.array(truth, dtype=np.float32)[:, None])
    return AdaptiveBands((300,), enabled=True).learn(due, came).get(AccuracyKey("m", "ab", METRIC, 300))


def test_points_that_are_not_known_do_not_count() -> None:
    nan = float("nan")
    state = not_none(learn(pending([[40, 50, 60], [nan, nan, nan], [40, 50, 60]]), 55, 50, nan))
    assert (state.points, state.covered) == (1, 1)
    assert learn(pending([[40, 50, 60]]), nan) is None
    assert learn(pending([[40, 50, 60]], factors=None), 55) is None


def test_a_band_without_width_is_left_by_any_difference() -> None:
    state = not_none(learn(pending([[50, 50, 50], [50, 50, 50]]), 50, 51))
    assert (state.points, state.covered) == (2, 1)


def test_each_side_of_the_band_has_its_own_width() -> None:
    state = not_none(learn(pending([[40, 50, 80], [40, 50, 80]]), 75, 35))
    assert (state.points, state.covered) == (2, 1)


def test_what_is_outside_is_judged_by_the_present_factor() -> None:
    """A forecast from before the band was widened asks for no further widening where the wider one holds."""
    distances: DoubleArray = np.array([1.5] * 10)  # half widths of the band served then
    narrower = follow(BandState(2.0), distances, served=1.0, interval_seconds=300)
    assert narrower.factor < 2.0
    assert narrower.covered == 0
    assert follow(BandState(1.0), distances, served=1.0, interval_seconds=300).factor > 1.0


def test_the_pace_is_that_of_the_clock_not_of_the_slots() -> None:
    outside: DoubleArray = np.array([9.0])
    fine, coarse = BandState(), follow(BandState(), outside, served=1.0, interval_seconds=300)
    for _ in range(5):
        fine = follow(fine, outside, served=1.0, interval_seconds=60)
    assert fine.factor == pytest.approx(coarse.factor)
