"""Networks that read derived inputs: what is built of a window, and every way of computing, against the library's own
network in float64 on inputs computed one by one.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from support.derived import DerivedCase

from nordiq_watch.network.derived_inputs import LAGS, reads_back, split_name
from nordiq_watch.network.features import Features
from nordiq_watch.network.forward import Way
from nordiq_watch.network.native_library import load_library

pytestmark = pytest.mark.slow

BUILT = 4e-6
ABSOLUTE = 1e-4
LAST_DIGITS = 3
"""Units in the last place of the answer: where the library's error is below that, which way is nearer is chance."""

CASES = {
    "a day as long as the encoder": DerivedCase(3600, 60, past=(), ahead=("day_before",)),
    "day and week, in the encoder too": DerivedCase(3600, 200, past=LAGS, ahead=LAGS),
    "the day in the encoder": DerivedCase(1200, 110, past=("day_before",), ahead=("day_before",)),
    "a day shorter than the encoder, a week that the window does not hold": DerivedCase(
        7200, 90, past=("day_before",), ahead=LAGS
    ),
    "a day shorter than the horizon": DerivedCase(21_600, 60, past=(), ahead=("day_before",)),
    "one target, layers, shared networks": DerivedCase(
        3600,
        60,
        past=("day_before",),
        ahead=("day_before",),
        targets=("cpu_user_pct",),
        network={"lstm_layers": 2, "share_single_variable_networks": True, "hidden_continuous_sizes": {"hour_sin": 5}},
    ),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"), scope="module")
def case(request: pytest.FixtureRequest) -> DerivedCase:
    return CASES[request.param]


def test_the_inputs_are_those_computed_one_by_one(case: DerivedCase) -> None:
    x, servers = case.library_inputs
    snapshot, features = case.fleet.window(), Features(case.spec)
    rows = np.array([snapshot.servers.index(server) for server in servers])
    assert sorted(rows) == features.warm_rows(snapshot).tolist()
    ours, network = features.build(snapshot, rows), case.spec.network
    for part, names in (
        ("encoder_cont", (*network.static_reals, *network.time_varying_reals_encoder)),
        ("decoder_cont", (*network.static_reals, *network.time_varying_reals_decoder)),
    ):
        columns = [network.x_reals.index(name) for name in names]
        torch.testing.assert_close(getattr(ours, part)[..., columns], x[part][..., columns], rtol=0, atol=BUILT)


def test_every_derived_input_says_something(case: DerivedCase) -> None:
    x, _ = case.library_inputs
    hours = case.interval_seconds / 3600
    silent = {"mean_1h", "spread_1h"} if hours >= 1 else set()  # of one slot
    silent |= {"mean_6h"} if hours >= 6 else {"week_before"} if hours == 2 else set()
    for column, name in enumerate(case.spec.network.x_reals):
        derived = split_name(name, case.targets)
        if derived and derived[1] not in silent:
            assert x["decoder_cont"][..., column].std() > 0, name


@pytest.mark.parametrize("way", get_args(Way))
def test_every_way_is_as_near_to_float64_as_the_library(case: DerivedCase, way: Way) -> None:
    if way == "native" and load_library() is None:
        pytest.skip("no native kernel is built: there was no C++ compiler at the installation")
    snapshot = case.fleet.window()
    prediction = case.predictor(way).predict(snapshot)
    servers = [snapshot.servers[row] for row in prediction.rows]
    forecasts = [case.forecast(exactly=exactly) for exactly in (True, False)]
    exact, library = (np.stack([of[name] for name in servers]) for of in forecasts)
    error, own = (np.abs(values - exact).max(axis=(0, 2, 3)) for values in (prediction.values, library))
    digits = LAST_DIGITS * np.spacing(np.abs(exact).max(axis=(0, 2, 3)).astype(np.float32))
    allowed = np.minimum(ABSOLUTE, np.maximum(2 * own, digits))  # twice, because the inputs are rounded elsewhere
    assert (error <= allowed).all(), f"errors {error}, the library's {own}"


def test_the_window_that_it_reads_is_enough(case: DerivedCase) -> None:
    slots = min(reads_back(case.spec), case.slots)
    cut = case.fleet.until(case.slots - 1, slots=slots).window()
    whole, short = (case.predictor("folded").predict(window) for window in (case.fleet.window(), cut))
    np.testing.assert_array_equal(whole.values, short.values)
