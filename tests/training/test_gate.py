from __future__ import annotations

from functools import partial
from math import inf, nan

import msgspec
import numpy as np
import pytest
from support.extras import random_extras, with_extras
from support.networks import network_spec, random_weights
from support.small_fleet import FIRST_SLOT, INTERVAL_SECONDS, METRICS, series_of, wavy

from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.spec import Comparison, ModelSpec, TargetErrors
from nordiq_watch.training.baselines import last_value, true_values
from nordiq_watch.training.gate import (
    MAX_RELATIVE_ERROR,
    Contender,
    build_contender,
    compare,
    explain_refusal,
    find_misfit,
    mean_errors,
    negligible_errors,
    relative_error,
    report_comparison,
)
from nordiq_watch.training.replay import Replay, forecast_p50

SPEC = network_spec()
NONE = np.zeros(2)


def contender(seed: int = 1, spec: ModelSpec = SPEC, name: str = "tft_model_old") -> Contender:
    made = build_contender(spec, random_weights(spec, seed=seed))
    return Contender(name, made.spec, made.predictor)


def windows(values: FloatArray | None = None) -> Replay:
    """Five windows of one server."""
    series = series_of(wavy(60) if values is None else values)
    origins = FIRST_SLOT + np.arange(30, 55, 5)
    return Replay((series,), np.zeros(5, dtype=np.int64), origins, METRICS, INTERVAL_SECONDS, 24)


class TestRelativeError:
    def test_it_is_the_mean_over_targets_whatever_their_units(self) -> None:
        assert relative_error(np.array([1.0, 300.0]), np.array([2.0, 200.0]), NONE) == pytest.approx(1.0)
        assert relative_error(np.array([1.0, 300.0]) * [1, 1e6], np.array([2.0, 200.0]) * [1, 1e6], NONE) == 1.0

    def test_errors_too_small_to_matter_are_equal(self) -> None:
        """A constant metric: last value is perfect."""
        small = np.array([0.1, 0.1])
        assert relative_error(np.array([0.05, 1.0]), np.array([0.0, 2.0]), small) == pytest.approx((1.0 + 0.5) / 2)
        assert relative_error(np.array([5.0, 1.0]), np.array([0.0, 2.0]), small) == pytest.approx((50 + 0.5) / 2)

    def test_a_target_without_measurements_or_width_is_left_out(self) -> None:
        assert relative_error(np.array([nan, 3.0]), np.array([nan, 2.0]), NONE) == 1.5
        assert relative_error(np.array([0.5, 3.0]), np.array([0.0, 2.0]), NONE) == 1.5
        assert relative_error(np.array([nan, 0.0]), np.array([nan, 0.0]), NONE) is None

    def test_a_forecast_that_is_not_finite_is_infinitely_worse(self) -> None:
        assert relative_error(np.array([inf, 3.0]), np.array([1.0, 2.0]), NONE) == inf


def test_mean_errors_are_over_what_was_measured() -> None:
    truth = np.array([[[1.0, nan], [2.0, nan]], [[3.0, nan], [nan, nan]]], dtype=np.float32)
    forecast = np.array([[[2.0, 0.0], [4.0, 0.0]], [[3.0, 0.0], [nan, 0.0]]], dtype=np.float32)
    np.testing.assert_array_equal(mean_errors(forecast, truth), [1.0, nan])
    forecast[0, 0, 0] = nan
    np.testing.assert_array_equal(mean_errors(forecast, truth), [inf, nan])


def test_what_is_negligible_is_a_share_of_the_metrics_width() -> None:
    truth = np.array([[[40.0, -2.0, 0.0], [60.0, 4.0, 0.0]]], dtype=np.float32)
    found = negligible_errors(("cpu_user_pct", "load_average", "net_in_mb_s"), truth)
    np.testing.assert_allclose(found, [0.1, 0.003, 0.0])


def test_the_errors_are_those_of_the_served_p50_and_of_last_value() -> None:
    model = contender(2)
    found = compare(model, None, windows())
    truth = windows().pick(partial(true_values, steps=4), steps=4)
    last = windows().pick(partial(last_value, steps=4), steps=4)
    p50 = forecast_p50(model.predictor, SPEC, windows(), targets=METRICS)
    ratios = []
    for column, target in enumerate(METRICS):
        errors = found.targets[target]
        assert errors.model == pytest.approx(np.abs(p50 - truth)[..., column].mean(), rel=1e-6)
        assert errors.last_value == pytest.approx(np.abs(last - truth)[..., column].mean(), rel=1e-6)
        assert errors.newest is None
        assert errors.model is not None
        assert errors.last_value is not None
        ratios.append(errors.model / errors.last_value)
    assert found.beside_last_value == pytest.approx(np.mean(ratios))
    assert found.passed == (np.mean(ratios) <= MAX_RELATIVE_ERROR)
    assert (found.windows, found.newest, found.beside_newest, found.newest_skipped) == (5, None, None, None)


def test_a_version_with_extras_is_judged_by_what_it_serves() -> None:
    spec, weights, replay = with_extras(SPEC), random_weights(SPEC, seed=1), windows()
    extras = random_extras(spec)
    served = build_contender(spec, weights, extras)
    network = compare(contender(), None, replay)
    comparison = compare(served, contender(), replay)
    assert comparison.beside_last_value != network.beside_last_value
    assert comparison.targets["cpu_user_pct"].newest == network.targets["cpu_user_pct"].model
    p50 = forecast_p50(served.predictor, spec, replay, targets=METRICS)
    truth = replay.pick(partial(true_values, steps=4), steps=4)
    assert comparison.targets["cpu_user_pct"].model == pytest.approx(float(np.abs(truth - p50)[..., 0].mean()))


def test_beside_itself_a_version_is_no_better() -> None:
    found = compare(contender(2), contender(2), windows())
    assert (found.newest, found.beside_newest, found.newest_skipped) == ("tft_model_old", 1.0, None)
    errors = found.targets["mem_used_pct"]
    assert errors.newest == errors.model


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"interval_seconds": 60}, "its interval_seconds is 60, the new version's 300"),
        ({"max_encoder_length": 10}, "its max_encoder_length is 10, the new version's 12"),
        ({"max_prediction_length": 3}, "its max_prediction_length is 3, the new version's 4"),
        ({"metrics": ("cpu_user_pct", "mem_used_pct", "load_average")}, "its metrics differ in load_average"),
        ({"targets": ("mem_used_pct",)}, "its targets differ in cpu_user_pct"),
    ],
)
def test_a_version_of_another_kind_is_not_compared(changes: dict[str, object], reason: str) -> None:
    other = msgspec.structs.replace(SPEC, **changes)
    assert find_misfit(other, SPEC) == reason
    newest = Contender("tft_model_old", other, contender().predictor)
    found = compare(contender(2), newest, windows())
    assert (found.newest, found.newest_skipped, found.beside_newest) == ("tft_model_old", reason, None)
    assert list(report_comparison(found))[-1] == f"not compared with tft_model_old: {reason}"


def test_a_version_that_knows_only_other_servers_is_not_compared() -> None:
    encoders = SPEC.categorical_encoders
    profiles = msgspec.structs.replace(encoders["profile"], classes=("x", "y", "z"), unknown_code=None)
    closed = {**encoders, "profile": profiles}
    newest = contender(spec=msgspec.structs.replace(SPEC, categorical_encoders=closed))
    assert compare(contender(2), newest, windows()).newest_skipped == "it does not forecast all of these windows"


def test_a_constant_fleet_is_no_reason_to_refuse_a_model_that_knows_it() -> None:
    """Such a window has no spread, so the network stays at its last value but for rounding."""
    found = compare(contender(2), None, windows(np.full((60, 2), 50.0, dtype=np.float32)))
    assert all(errors.last_value == 0.0 for errors in found.targets.values())
    assert found.beside_last_value == 1.0
    assert found.passed


def test_weights_that_are_not_finite_do_not_pass() -> None:
    weights = random_weights(SPEC)
    name = next(name for name in weights if name.startswith("output_layer") and name.endswith("weight"))
    weights[name][:] = nan
    found = compare(build_contender(SPEC, weights), None, windows())
    assert not found.passed
    assert found.beside_last_value is None
    assert "not finite" in explain_refusal(found)
    msgspec.json.encode(found)


def test_a_refusal_says_both_figures_and_the_worst_target() -> None:
    targets = {
        "cpu_user_pct": TargetErrors(model=2.0, last_value=1.6),
        "mem_used_pct": TargetErrors(model=0.3, last_value=0.29),
        "swap_used_pct": TargetErrors(model=None, last_value=None),
    }
    comparison = Comparison(windows=5, beside_last_value=1.1423, passed=False, targets=targets)
    assert explain_refusal(comparison) == (
        "the model is worse than last value: the mean absolute error of its p50 in validation is 1.142 times last "
        "value's, at most 1.02 is allowed (worst: cpu_user_pct, 2 % against 1.6 %)"
    )
