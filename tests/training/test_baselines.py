from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.training.baselines import (
    day_before,
    last_value,
    mean_absolute_error,
    mean_pinball_loss,
    true_values,
)

STEPS, DAY = 5, 3
QUANTILES = (0.1, 0.5, 0.9)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def values(random: np.random.Generator) -> np.ndarray:
    values = random.normal(size=(20, 2)).astype(np.float32)
    values[:, 1][4] = np.nan
    return values


ORIGINS = np.array([3, 4, 9, 15])


def test_the_truth_is_what_came(values: np.ndarray) -> None:
    slow = [[values[origin + step] for step in range(STEPS)] for origin in ORIGINS]
    np.testing.assert_array_equal(true_values(values, ORIGINS, steps=STEPS), slow)


def test_last_value_repeats_the_value_before_the_window(values: np.ndarray) -> None:
    slow = [[values[origin - 1] for _ in range(STEPS)] for origin in ORIGINS]
    np.testing.assert_array_equal(last_value(values, ORIGINS, steps=STEPS), slow)


def test_the_day_before_never_looks_into_the_window(values: np.ndarray) -> None:
    def slow(origin: int, step: int) -> np.ndarray:
        position = origin + step
        while position >= origin:
            position -= DAY
        return values[position] if position >= 0 else np.full(2, np.nan, dtype=np.float32)

    expected = [[slow(origin, step) for step in range(STEPS)] for origin in ORIGINS]
    np.testing.assert_array_equal(day_before(values, ORIGINS, steps=STEPS, day_slots=DAY), expected)


def test_without_a_day_of_history_there_is_no_seasonal_forecast(values: np.ndarray) -> None:
    forecast = day_before(values, np.array([2]), steps=2, day_slots=3)
    assert np.isnan(forecast[0, 0]).all()
    np.testing.assert_array_equal(forecast[0, 1], values[0])


def slow_mean(losses: list[float]) -> float:
    known = [loss for loss in losses if not np.isnan(loss)]
    return sum(known) / len(known) if known else float("nan")


def test_errors_are_means_over_windows_for_each_step_and_metric(random: np.random.Generator) -> None:
    truth = random.normal(size=(6, STEPS, 2)).astype(np.float32)
    forecast = random.normal(size=(6, STEPS, 2)).astype(np.float32)
    truth[2, 1, 0] = np.nan
    truth[:, 3, 1] = np.nan
    slow = [
        [slow_mean([abs(float(truth[w, s, k]) - float(forecast[w, s, k])) for w in range(6)]) for k in range(2)]
        for s in range(STEPS)
    ]
    np.testing.assert_allclose(mean_absolute_error(forecast, truth), slow, rtol=1e-12)


def slow_pinball(truth: float, forecast: np.ndarray) -> float:
    losses = []
    for quantile, value in zip(QUANTILES, forecast, strict=True):
        error = truth - float(value)
        losses.append(quantile * error if error >= 0 else (quantile - 1) * error)
    return sum(losses) / len(losses)


def test_pinball_loss_is_the_mean_over_windows_and_quantiles(random: np.random.Generator) -> None:
    truth = random.normal(size=(6, STEPS, 2)).astype(np.float32)
    forecast = random.normal(size=(6, STEPS, 2, 3)).astype(np.float32)
    truth[2, 1, 0] = np.nan
    slow = [
        [slow_mean([slow_pinball(float(truth[w, s, k]), forecast[w, s, k]) for w in range(6)]) for k in range(2)]
        for s in range(STEPS)
    ]
    np.testing.assert_allclose(mean_pinball_loss(forecast, truth, quantiles=QUANTILES), slow, rtol=1e-12)


def test_one_number_for_all_quantiles_costs_half_of_its_absolute_error(random: np.random.Generator) -> None:
    truth, forecast = random.normal(size=(2, 6, STEPS, 2)).astype(np.float32)
    pinball = mean_pinball_loss(forecast, truth, quantiles=QUANTILES)  # they are symmetric
    np.testing.assert_allclose(pinball, mean_absolute_error(forecast, truth) / 2, rtol=1e-12)


def test_a_perfect_forecast_costs_nothing(random: np.random.Generator) -> None:
    truth = random.normal(size=(6, STEPS, 2)).astype(np.float32)
    assert not mean_absolute_error(truth, truth).any()
    assert not mean_pinball_loss(truth, truth, quantiles=QUANTILES).any()
