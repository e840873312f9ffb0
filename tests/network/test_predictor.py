"""The forecasts of a model that is rebuilt from its files alone, against pytorch-forecasting's own `predict`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from support.networks import (
    A_MONDAY,
    INTERVAL_SECONDS,
    busy_values,
    network_spec,
    random_weights,
    raw_tensors,
    snapshot_of,
    with_network,
)

from nordiq_watch.errors import ConfigError
from nordiq_watch.forecast.window import Window
from nordiq_watch.network.checks import UnusableSpec
from nordiq_watch.network.forward import Way
from nordiq_watch.network.predictor import Predictor, resolve_device
from nordiq_watch.network.weights import WeightsMismatch
from nordiq_watch.records import Batch, Prediction, WindowSnapshot

ABSOLUTE = 1e-4


def make_predictor(seed: int = 0) -> Predictor:
    spec = network_spec()
    return Predictor(spec, raw_tensors(random_weights(spec, seed=seed)), device="cpu")


def by_server(prediction: Prediction, snapshot: WindowSnapshot) -> dict[str, np.ndarray]:
    names = [snapshot.servers[row] for row in prediction.rows]
    return dict(zip(names, prediction.values, strict=True))


@pytest.mark.parametrize("prefer", get_args(Way))
def test_it_forecasts_what_the_library_forecasts(case, prefer) -> None:
    """At most 1e-4 from its `predict`; where the library's own float32 is further from float64, at most that."""
    snapshot = case.fleet.window()
    ours = by_server(case.make_predictor(prefer).predict(snapshot), snapshot)
    library, exact = case.reference.predict(case.fleet), case.reference.predict_exactly(case.fleet)
    assert ours.keys() == library.keys()
    for server in ours.keys() - set(case.unrepeatable):
        library_error = np.abs(library[server] - exact[server]).max()
        assert np.abs(ours[server] - exact[server]).max() <= max(ABSOLUTE, library_error)
        assert np.abs(ours[server] - library[server]).max() <= max(ABSOLUTE, 2 * library_error)


def test_every_metric_moves_the_forecast() -> None:
    predictor, values = make_predictor(), busy_values(3, 12)
    before = predictor.predict(snapshot_of(values)).values
    for metric in range(values.shape[2]):
        moved = values.copy()
        moved[:, 4, metric] += 20
        assert (predictor.predict(snapshot_of(moved)).values != before).any(axis=(1, 2, 3)).all()


def test_the_time_of_day_moves_the_forecast() -> None:
    predictor, values = make_predictor(), busy_values(3, 12)
    noon = snapshot_of(values)
    later = replace(noon, last_slot=noon.last_slot + 50)
    assert (predictor.predict(noon).values != predictor.predict(later).values).all(axis=(1, 2, 3)).all()


def test_a_fleet_of_many_chunks_is_forecast_server_by_server() -> None:
    predictor, values = make_predictor(), busy_values(70, 12)
    values[::3, :4] = np.nan
    whole = predictor.predict(snapshot_of(values))
    assert whole.rows.tolist() == list(range(70))
    for row in (0, 31, 32, 69):
        alone = predictor.predict(snapshot_of(values[row : row + 1]))
        np.testing.assert_allclose(whole.values[row], alone.values[0], atol=1e-5)


def test_a_fleet_in_which_nobody_is_warm_gives_no_rows() -> None:
    prediction = make_predictor().predict(snapshot_of(np.full((3, 12, 2), np.nan)))
    assert prediction.rows.shape == (0,)
    assert prediction.values.shape == (0, 2, 4, 3)


def test_an_empty_window_gives_no_rows() -> None:
    prediction = make_predictor().predict(snapshot_of(np.empty((0, 12, 2)), servers=(), profiles=()))
    assert prediction.values.shape == (0, 2, 4, 3)


def test_a_target_that_was_never_measured_is_never_forecast() -> None:
    values = busy_values(2, 12)
    values[1, :, 1] = np.nan
    forecast = make_predictor().predict(snapshot_of(values)).values
    assert np.isnan(forecast[1, 1]).all()
    assert np.isfinite(forecast[0]).all()
    assert np.isfinite(forecast[1, 0]).all()


def test_the_window_is_left_as_it_is_and_the_answer_is_the_same_from_any_thread() -> None:
    predictor, values = make_predictor(), busy_values(40, 12)
    values[5, 3:6] = np.nan
    snapshot = snapshot_of(values.copy())
    snapshot.values.flags.writeable = snapshot.statuses.flags.writeable = False
    alone = predictor.predict(snapshot).values
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: predictor.predict(snapshot).values, range(8)))
    for answer in together:
        np.testing.assert_array_equal(answer, alone)
    np.testing.assert_array_equal(snapshot.values, values)


def test_weight_bytes_counts_each_parameter_once() -> None:
    tensors = random_weights(network_spec())
    assert 0 < make_predictor().weight_bytes < sum(tensor.nbytes for tensor in tensors.values())


def test_a_spec_that_cannot_be_built_is_refused_before_the_weights_are_looked_at() -> None:
    with pytest.raises(UnusableSpec, match="hidden_size"):
        Predictor(with_network(network_spec(), hidden_size=10**9), {}, device="cpu")


def test_weights_of_another_network_are_refused() -> None:
    larger = with_network(network_spec(), hidden_size=12)
    with pytest.raises(WeightsMismatch):
        Predictor(larger, raw_tensors(random_weights(network_spec())), device="cpu")


@pytest.mark.parametrize("gpus, expected", [(0, "cpu"), (2, "cuda")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch, gpus: int, expected: str) -> None:
    pretend_gpus(monkeypatch, gpus)
    assert resolve_device("auto") == expected


@pytest.mark.parametrize("setting", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    pretend_gpus(monkeypatch, 2)
    assert resolve_device(setting) == setting


@pytest.mark.parametrize(
    "setting, gpus, found", [("cuda", 0, "no GPU"), ("cuda:1", 1, "1 GPU"), ("cuda:2", 2, "2 GPUs")]
)
def test_a_gpu_that_is_not_there_is_refused(
    monkeypatch: pytest.MonkeyPatch, setting: str, gpus: int, found: str
) -> None:
    pretend_gpus(monkeypatch, gpus)
    with pytest.raises(ConfigError, match=f"device is {setting}, .*{found}.* auto or cpu"):
        resolve_device(setting)


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_tick_by_tick_over_a_ring_that_wraps() -> None:
    """What is forecast from the window's ring is what the network says, unfolded, of the same values in a row."""
    spec = network_spec()
    tensors = random_weights(spec, seed=5)
    served = Predictor(spec, raw_tensors(tensors), device="cpu")
    plain = Predictor(spec, raw_tensors(tensors), device="cpu", prefer="plain")
    values, first = busy_values(3, 40, seed=6), A_MONDAY - 40
    window = Window(spec.metrics, interval_seconds=INTERVAL_SECONDS, length=12, max_servers=3, silent_seconds=3600)
    for tick in range(40):
        batch = Batch(
            servers=("ppdb000", "ppdb001", "ppdb002"),
            profiles=(None,) * 3,
            rows=np.arange(3),
            slots=np.full(3, first + tick),
            statuses=np.ones(3, dtype=np.uint8),
            values=values[:, tick],
        )
        window.apply(batch)
        if tick < 5:
            continue
        newest = values[:, max(0, tick - 11) : tick + 1]
        row = snapshot_of(newest, profiles=["Database"] * 3, statuses=np.ones(newest.shape[:2]), last_slot=first + tick)
        np.testing.assert_allclose(
            served.predict(window.snapshot()).values, plain.predict(row).values, rtol=0, atol=ABSOLUTE
        )
