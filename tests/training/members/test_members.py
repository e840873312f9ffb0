"""The members beside the network learn what there is to learn, on series whose best forecast is known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from support.extras import with_extras
from support.networks import network_spec

from nordiq_watch.network.ridge import solve_ridge
from nordiq_watch.network.terms.blend import MEMBERS
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.quantiles import pinball_loss
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.dataset import Series
from nordiq_watch.training.members.descent import Descent, Parameters
from nordiq_watch.training.members.draws import Drawn, Draws
from nordiq_watch.training.members.linear_fit import LinearFit
from nordiq_watch.training.members.rows_fit import RowsFit
from nordiq_watch.training.windows import SeriesWindows

SLOTS, HORIZON, INTERVAL = 24, 4, 3600  # a day of hours
LEVELS = (0.1, 0.5, 0.9)
NOISE = 1.0


def spec_of(member: str) -> ModelSpec:
    spec = network_spec(interval_seconds=INTERVAL, max_encoder_length=SLOTS, max_prediction_length=HORIZON)
    return with_extras(spec, members=(member,), slots=SLOTS, calibrated=False)


def daily_draws(*, seed: int, days: int = 30) -> Draws:
    """Two metrics with a daily pattern of their own height per server, and white noise on top."""
    chance = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    series = []
    for number in range(8):
        pattern = np.stack([np.sin(hours * 2 * np.pi / 24), np.cos(hours * 2 * np.pi / 24)], axis=1)
        values = 50 + chance.uniform(5, 15, 2) * pattern + chance.normal(0, NOISE, pattern.shape)
        series.append(Series(f"server{number}", "Generic", 24 * 1000, values.astype(np.float32)))
    windows = SeriesWindows(series, shortest_past=SLOTS // 2, horizon=HORIZON)
    return Draws(windows, slots=SLOTS, fill_values=(0.0, 0.0), seed=seed)


def fit_linear(seed: int) -> Parameters:
    return LinearFit(daily_draws(seed=seed), LEVELS, INTERVAL, torch.full((2,), 0.01)).run(Descent(150, 1e-3))


def fit_rows(seed: int) -> Parameters:
    return RowsFit(daily_draws(seed=seed), LEVELS, INTERVAL, torch.full((2,), 0.01)).run(Descent(150, 2e-3))


FITS = {"linear": fit_linear, "rows": fit_rows}


def forecast(member: str, tensors: Parameters, history: HistoryInputs) -> torch.Tensor:
    return MEMBERS[member].from_tensors(spec_of(member), tensors).quantiles(history)


def loss_of(quantiles: torch.Tensor, drawn: Drawn) -> float:
    return float(np.nanmean(pinball_loss(quantiles.numpy(), drawn.truth.numpy(), LEVELS)))


@pytest.mark.parametrize("member", FITS)
def test_it_comes_near_to_the_best_possible_forecast_on_servers_that_it_never_saw(member: str) -> None:
    tensors = FITS[member](1)
    unseen = daily_draws(seed=99).draw(1000)
    quantiles = forecast(member, tensors, unseen.history)
    last = unseen.history.values[:, -1, :, None, None].expand_as(quantiles)
    # Of normal noise, the pinball loss of its own quantiles is σ φ(z): 0.1755 at p10 and p90, 0.3989 at p50.
    best = NOISE * (2 * 0.1755 + 0.3989) / 3
    assert loss_of(quantiles, unseen) < 1.35 * best
    assert loss_of(last, unseen) > 4 * best
    inside = (unseen.truth >= quantiles[..., 0]) & (unseen.truth <= quantiles[..., 2])
    assert 0.7 < float(inside.float().mean()) < 0.9


@pytest.mark.parametrize("member", FITS)
def test_the_same_seed_gives_the_same_tensors(member: str) -> None:
    first, second, other = FITS[member](1), FITS[member](1), FITS[member](2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_descent_without_time_left_keeps_its_start() -> None:
    start = {"x": torch.tensor([3.0])}
    fitted = Descent(100, 0.1, progress=lambda: 1.0).run(start, lambda parameters: parameters["x"].square().sum())
    assert torch.equal(fitted["x"], start["x"])


def test_a_descent_finds_a_minimum() -> None:
    fitted = Descent(2000, 0.1, weight_decay=0.0).run(
        {"x": torch.tensor([3.0])}, lambda parameters: (parameters["x"] - 1).square().sum()
    )
    assert float(fitted["x"]) == pytest.approx(1, abs=0.01)


def test_ridge_regression_is_that_of_the_normal_equations_with_the_constant_left_free() -> None:
    chance = np.random.default_rng(0)
    inputs = np.concatenate([chance.normal(size=(200, 3)), np.ones((200, 1))], axis=1)
    outputs = inputs @ [[1.0], [2.0], [3.0], [400.0]] + chance.normal(0, 0.1, (200, 1))
    squares, products = torch.from_numpy(inputs.T @ inputs), torch.from_numpy(inputs.T @ outputs)
    found = solve_ridge(squares.float(), products.float(), penalty=0.01).numpy()
    ridge = 0.01 * np.diag(inputs.T @ inputs).mean() * np.diag([1, 1, 1, 1e-6])
    np.testing.assert_allclose(found, np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ outputs), rtol=1e-3)
    assert found[3, 0] == pytest.approx(400, abs=0.1)


def test_windows_of_short_series_repeat_their_oldest_slot_and_a_metric_that_is_not_measured_is_filled() -> None:
    values = np.arange(20, dtype=np.float32)[:, None] * [[1, np.nan]]
    series = Series("server0", "Generic", 500, values.astype(np.float32))
    draws = Draws(SeriesWindows([series], shortest_past=3, horizon=2), slots=5, fill_values=(0.0, 7.0), seed=0)
    drawn = draws.cut(np.array([0, 0]), np.array([3, 10]))
    np.testing.assert_array_equal(drawn.history.values[:, :, 0], [[0, 0, 0, 1, 2], [5, 6, 7, 8, 9]])
    assert bool((drawn.history.values[:, :, 1] == 7).all())
    assert drawn.history.last_slots.tolist() == [502, 509]
    np.testing.assert_array_equal(drawn.truth[:, 0], [[3, 4], [10, 11]])
    assert bool(drawn.truth[:, 1].isnan().all())


RAISED_THREADS = """
import torch
from nordiq_watch.network.ridge import solve_ridge
inputs = torch.randn(2, 2000, 303, generator=torch.Generator().manual_seed(0))
outputs = inputs[..., :96] * 2
squares, products = inputs.mT @ inputs, inputs.mT @ outputs
for threads in (2, 1, 2):
    torch.set_num_threads(threads)
    found = solve_ridge(squares, products, penalty=1e-6)
    assert torch.allclose(found[:, :96], 2 * torch.eye(96), atol=1e-3), f"{threads} threads"
"""


def test_the_ridge_is_solved_after_the_number_of_threads_was_raised() -> None:
    """In a process of its own: the number is the process's."""
    done = subprocess.run([sys.executable, "-c", RAISED_THREADS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
