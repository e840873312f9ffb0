"""The forecasts of a model that is rebuilt from its files alone, against pytorch-forecasting's own `predict`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from support.extras import random_extras, with_extras
from support.network_cases import Case
from support.networks import (
    busy_values,
    network_spec,
    random_weights,
    raw_tensors,
    snapshot_of,
    with_network,
)

from nordiq_watch.errors import ConfigError
from nordiq_watch.network.checks import UnusableSpec
from nordiq_watch.network.forward import Way
from nordiq_watch.network.prediction import Prediction
from nordiq_watch.network.predictor import Predictor, resolve_device
from nordiq_watch.network.terms.member import UnusableExtras
from nordiq_watch.network.weights import WeightsMismatch
from nordiq_watch.records.samples import WindowSnapshot

ABSOLUTE = 1e-4


def make_predictor(seed: int = 0) -> Predictor:
    spec = network_spec()
    return Predictor(spec, raw_tensors(random_weights(spec, seed=seed)), device="cpu")


def by_server(prediction: Prediction, snapshot: WindowSnapshot) -> dict[str, np.ndarray]:
    names = [snapshot.servers[row] for row in prediction.rows]
    return dict(zip(names, prediction.values, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("prefer", get_args(Way))
def test_it_forecasts_what_the_library_forecasts(case: Case, prefer: Way) -> None:
    """At most 1e-4 from its `predict`; where the library's own float32 is further from float64, at most that."""
    snapshot = case.fleet.window()
    ours = by_server(case.make_predictor(prefer).predict(snapshot), snapshot)
    library, exact = case.library, case.exact
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


@pytest.mark.parametrize("prefer", ["plain", "folded", "native"])
def test_several_windows_are_forecast_as_each_by_itself(prefer: Way) -> None:
    spec, values = network_spec(), busy_values(20, 12)
    predictor = Predictor(spec, raw_tensors(random_weights(spec)), device="cpu", prefer=prefer)
    now = snapshot_of(values)
    short = snapshot_of(np.where(np.arange(12)[:, None] < 6, np.float32("nan"), values[:5]))
    earlier = replace(now, last_slot=now.last_slot - 50)
    cold = snapshot_of(np.full((3, 12, 2), np.nan))
    for windows in ([now], [now, short], [short, now], [now, earlier], [now, cold], [cold]):
        together = predictor.predict_each(windows)
        for window, found in zip(windows, together, strict=True):
            alone = predictor.predict(window)
            assert found.rows.tolist() == alone.rows.tolist()
            np.testing.assert_allclose(found.values, alone.values, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("servers", "passes"), [(8, 1), (16, 1), (17, 2)])
def test_few_servers_of_two_windows_take_one_pass_through_the_weights(servers: int, passes: int) -> None:
    spec = network_spec()
    predictor = Predictor(spec, raw_tensors(random_weights(spec)), device="cpu", prefer="plain")
    seen: list[int] = []
    predictor._network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    window = snapshot_of(busy_values(servers, 12))
    predictor.predict_each([window, replace(window, last_slot=window.last_slot - 3)])
    assert len(seen) == passes
    assert sum(seen) == 2 * servers


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


def test_a_model_with_extras_forecasts_short_histories_and_leaves_out_what_was_never_measured() -> None:
    spec = with_extras()
    tensors = random_extras(spec)
    predictor = Predictor(spec, raw_tensors(random_weights(spec)), device="cpu", extras=raw_tensors(tensors))
    values = busy_values(4, 12)
    values[0, :6] = np.nan
    values[1, :7] = np.nan
    values[2, :, 1] = np.nan
    prediction = predictor.predict(snapshot_of(values))
    assert prediction.rows.tolist() == [0, 2, 3]
    assert np.isfinite(prediction.values[[0, 2]]).all()
    assert np.isnan(prediction.values[1, 1]).all()
    assert np.isfinite(prediction.values[1, 0]).all()
    alone = predictor.predict(snapshot_of(values[:1])).values[0]
    np.testing.assert_allclose(prediction.values[0], alone, rtol=1e-5, atol=1e-4)
    assert predictor.members == ("network", "linear")


def test_extras_count_among_the_weights_and_move_with_them() -> None:
    spec = with_extras()
    tensors = random_extras(spec)
    predictor = Predictor(spec, raw_tensors(random_weights(spec)), device="cpu", extras=raw_tensors(tensors))
    assert predictor.weight_bytes - make_predictor().weight_bytes == sum(tensor.nbytes for tensor in tensors.values())
    snapshot = snapshot_of(busy_values(3, 12))
    np.testing.assert_array_equal(predictor.on("cpu").predict(snapshot).values, predictor.predict(snapshot).values)


def test_extras_that_are_named_but_not_given_are_refused_before_the_network_is_built() -> None:
    with pytest.raises(UnusableExtras, match=r"2 missing \(blend, calibration\)"):
        Predictor(with_extras(), {}, device="cpu")


def test_extras_of_another_type_of_numbers_are_refused_or_converted() -> None:
    spec, snapshot = with_extras(), snapshot_of(busy_values(3, 12))
    weights, tensors = random_weights(spec), random_extras(spec)

    def predict(extras: dict[str, torch.Tensor]) -> np.ndarray:
        return Predictor(spec, raw_tensors(weights), device="cpu", extras=raw_tensors(extras)).predict(snapshot).values

    double = {name: tensor.double() for name, tensor in tensors.items()}
    np.testing.assert_array_equal(predict(double), predict(tensors))
    with pytest.raises(ValueError, match="blend is of type I32"):
        predict(tensors | {"blend": tensors["blend"].int()})
    with pytest.raises(UnusableExtras, match="not finite in float32"):
        predict(tensors | {"linear.bias": torch.full((2, 4, 3), 1e300, dtype=torch.float64)})


def test_a_spec_that_cannot_be_built_is_refused_before_the_weights_are_looked_at() -> None:
    with pytest.raises(UnusableSpec, match="hidden_size"):
        Predictor(with_network(network_spec(), hidden_size=10**9), {}, device="cpu")


def test_weights_of_another_network_are_refused() -> None:
    larger = with_network(network_spec(), hidden_size=12)
    with pytest.raises(WeightsMismatch):
        Predictor(larger, raw_tensors(random_weights(network_spec())), device="cpu")


@pytest.mark.parametrize(("gpus", "expected"), [(0, "cpu"), (2, "cuda")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch, gpus: int, expected: str) -> None:
    pretend_gpus(monkeypatch, gpus)
    assert resolve_device("auto") == expected


@pytest.mark.parametrize("setting", ["cpu", "cuda", "cuda:1"])
def test_a_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    pretend_gpus(monkeypatch, 2)
    assert resolve_device(setting) == setting


@pytest.mark.parametrize(
    ("setting", "gpus", "found"), [("cuda", 0, "no GPU"), ("cuda:1", 1, "1 GPU"), ("cuda:2", 2, "2 GPUs")]
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
