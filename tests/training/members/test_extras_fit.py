"""All that lies beside the network, from series to tensors that the daemon takes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from support.networks import network_spec

from nordiq_watch.network.terms.blend import Terms
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.dataset import Series
from nordiq_watch.training.members.descent import Parameters
from nordiq_watch.training.members.extras_fit import RECIPES, ExtrasFit, Recipe, count_slots
from nordiq_watch.training.windows import Places, SeriesWindows

pytestmark = pytest.mark.slow

SLOTS, HORIZON, INTERVAL = 24, 4, 3600
CUT, END = 24 * 20, 24 * 32


def spec() -> ModelSpec:
    return network_spec(interval_seconds=INTERVAL, max_encoder_length=SLOTS, max_prediction_length=HORIZON)


def daily_series() -> list[Series]:
    chance, hours = np.random.default_rng(0), np.arange(END)
    patterns = np.stack([np.sin(hours * 2 * np.pi / 24), np.cos(hours * 2 * np.pi / 24)], axis=1)
    return [
        Series(
            f"server{number}",
            "Generic",
            24 * 1000,
            (50 + chance.uniform(5, 15, 2) * patterns + chance.normal(0, 1, patterns.shape)).astype(np.float32),
        )
        for number in range(4)
    ]


def windows_of(series: list[Series], *, first: int | None = None) -> SeriesWindows:
    begin = None if first is None else series[0].first_slot + first
    return SeriesWindows(series, shortest_past=SLOTS // 2, horizon=HORIZON, first_slot=begin)


def halves() -> tuple[SeriesWindows, SeriesWindows]:
    whole = daily_series()
    return windows_of([one.between(0, one.first_slot + CUT) for one in whole]), windows_of(whole, first=CUT)


def last_values(windows: SeriesWindows, places: Places, *, width: float) -> FloatArray:
    """A network that repeats the last value, with a band of this half width."""
    history, _, _ = windows.cut(*places, past=1)
    last = np.broadcast_to(history[:, 0, :, None, None], (len(history), 2, HORIZON, 3))
    return (last + width * np.array([-1, 0, 1], dtype=np.float32)).astype(np.float32)


def fit_all(members: tuple[str, ...]) -> tuple[ExtrasFit, Parameters]:
    fit = ExtrasFit(spec(), members, (0.0, 0.0), seed=3)
    training, validation = halves()
    fitted, places = fit.fit(training), validation.spread(300)
    return fit, fitted | fit.weigh(fitted, last_values(validation, places, width=3), validation, places)


@pytest.fixture(scope="module")
def both() -> tuple[ExtrasFit, Parameters]:
    return fit_all(("linear", "rows"))


def test_the_daemon_takes_them(both: tuple[ExtrasFit, Parameters]) -> None:
    fit, tensors = both
    Terms(fit.extended, tensors)
    assert fit.extended.format_version == 2
    assert msgspec.structs.replace(fit.extended, format_version=1, extras=None) == spec()


def test_members_that_know_the_day_outweigh_a_network_that_repeats_the_last_value(
    both: tuple[ExtrasFit, Parameters],
) -> None:
    network, *members = both[1]["blend"]
    assert float(network.max()) < 0.1
    assert all(bool((member > network).all()) for member in members)


def test_the_whole_forecast_holds_what_it_says_on_days_that_were_not_looked_at(
    both: tuple[ExtrasFit, Parameters],
) -> None:
    fit, tensors = both
    validation = halves()[1]
    places = validation.locate(np.arange(7, len(validation), 11))
    history, lengths, ahead = validation.cut(*places, past=SLOTS)
    first = np.array([one.first_slot for one in validation.series])[places.series]
    inputs = HistoryInputs(
        torch.from_numpy(history), torch.from_numpy(lengths), torch.from_numpy(first + places.origins - 1)
    )
    network = torch.from_numpy(last_values(validation, places, width=3))
    band = Terms(fit.extended, tensors).apply(network, inputs).numpy()
    truth = ahead.swapaxes(1, 2)
    assert np.abs(truth - band[..., 1]).mean() < 1.0  # of noise with a deviation of 1: 0.8
    assert np.mean((truth >= band[..., 0]) & (truth <= band[..., 2])) == pytest.approx(0.8, abs=0.04)


def test_without_members_the_network_alone_is_calibrated() -> None:
    fit, tensors = fit_all(())
    assert set(tensors) == {"blend", "calibration"}
    assert bool((tensors["blend"] == 1).all())
    assert bool((tensors["calibration"][:, -1, ::2] > 1).all()), "a band of 3 around the last value is too narrow"
    Terms(fit.extended, tensors)


def test_a_network_without_a_forecast_of_some_windows_is_weighed_on_the_others() -> None:
    fit = ExtrasFit(spec(), (), (0.0, 0.0), seed=3)
    _, validation = halves()
    places = validation.spread(300)
    network = last_values(validation, places, width=3)
    whole = fit.weigh({}, network[::2], validation, Places(places.series[::2], places.origins[::2]))
    network[1::2] = np.nan
    holed = fit.weigh({}, network, validation, places)
    torch.testing.assert_close(holed["calibration"], whole["calibration"])


def test_windows_of_a_day_say_little_of_a_network_that_is_as_good_as_the_members(
    both: tuple[ExtrasFit, Parameters],
) -> None:
    """The same forecasts from both: what is left is what is expected beforehand, the less of the network, the fewer
    windows: four servers' day has 24 of 4 hours.
    """
    fit, fitted = both
    validation = halves()[1]
    places = validation.locate(np.flatnonzero(validation.locate(np.arange(len(validation))).origins < CUT + 24))
    linear = fit._forecast(fitted, last_values(validation, places, width=3), validation, places)[0][1].numpy()
    as_good = {name: tensor for name, tensor in fitted.items() if name.startswith("linear.")}
    blend = replace(fit, members=("linear",)).weigh(as_good, linear, validation, places)["blend"]
    torch.testing.assert_close(blend[0], torch.full_like(blend[0], 0.1 * 24 / 240), atol=0.005, rtol=0.0)


def test_overlapping_windows_count_as_the_slots_that_they_forecast() -> None:
    places = Places(np.array([0, 0, 0, 2]), np.array([10, 11, 20, 5]))
    assert count_slots(places, 4) == (20 - 10 + 4) + 4


def test_little_data_is_not_learnt_by_heart() -> None:
    """The number of steps follows from the number of windows: five days of 16 servers are little for a network, and
    enough for a linear map.
    """
    rows, linear = RECIPES["rows"], RECIPES["linear"]

    def steps(recipe: Recipe, windows: int, interval_seconds: int = 300) -> int:
        return recipe.descent(windows, interval_seconds, lambda: 0.0).steps

    assert steps(rows, 100) < 10
    assert steps(rows, 16 * 1200) < rows.steps / 4
    assert steps(rows, 16 * 1200, interval_seconds=3600) == rows.steps, "as many hours are many days"
    assert steps(linear, 16 * 1200) == linear.steps
    assert steps(rows, 10**6) == rows.steps
