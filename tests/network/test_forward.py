"""All ways of computing a forward pass, against a float64 run of the network, which tests/network/test_tft.py holds
against pytorch-forecasting's. test_predictor.py compares the whole way with the library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.networks import busy_values, network_spec, random_weights, raw_tensors, shake, snapshot_of, with_network
from support.variety import SPECS, as_inputs, build, inputs_of

from nordiq_watch.network import forward as forward_module
from nordiq_watch.network import native_library
from nordiq_watch.network.features import Features
from nordiq_watch.network.forward import Forward, PlainForward, choose_forward
from nordiq_watch.network.fused import FoldedForward
from nordiq_watch.network.native import NativeForward
from nordiq_watch.network.native_library import LANES, load_library
from nordiq_watch.network.prediction import Prediction
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.weights import count_bytes
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

ROUNDING = 1e-6
"""Where float32 is this near to float64, in scaled units, neither way is worse than the other."""

SEEDS = range(3)

LARGER = {
    f"hidden {hidden}, {layers} layers, {targets} targets": with_network(
        network_spec(targets=[f"metric_{number}" for number in range(targets)]),
        hidden_size=hidden,
        hidden_continuous_size=max(1, hidden // 2),
        lstm_layers=layers,
        attention_head_size=heads,
    )
    for hidden, layers, targets, heads in ((8, 3, 14, 2), (20, 1, 3, 3), (64, 2, 1, 4), (128, 1, 14, 8), (256, 3, 2, 4))
}

Make = Callable[[TemporalFusionTransformer], Forward]


def native(lanes: int, network: TemporalFusionTransformer) -> Forward:
    library = load_library()
    if library is None:
        pytest.skip("no native kernel is built: there was no C++ compiler at the installation")
    if library.nordiq_lanes() < lanes:
        pytest.skip(f"this processor has no {LANES[lanes]}")
    return NativeForward(network, library, lanes=lanes)


WAYS: dict[str, Make] = {
    "folded": FoldedForward,
    **{f"native-{name}": partial(native, lanes) for lanes, name in LANES.items()},
}


@pytest.fixture(params=WAYS)
def make(request: pytest.FixtureRequest) -> Make:
    return WAYS[request.param]


@torch.no_grad()
def exactly(network: TemporalFusionTransformer, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    doubled = {name: part.double() if part.is_floating_point() else part for name, part in inputs.items()}
    output = network.double()(**doubled)
    network.float()  # what was float32 before is so again, bit for bit
    return output


@dataclass(frozen=True)
class Trial:
    """A network, inputs, and what it makes of them in float64."""

    network: TemporalFusionTransformer
    inputs: dict[str, torch.Tensor]
    exact: torch.Tensor


@lru_cache(maxsize=1)  # the ways of one network are tested one after the other
def try_network(name: str, sharpness: float) -> tuple[list[Trial], float]:
    """The network with weights of each seed, and how far its own float32 is from float64 in all."""
    spec = {**SPECS, **LARGER}[name]
    trials, own_errors = [], []
    for seed in SEEDS:
        network, inputs = build(spec, random_weights(spec, seed=seed)), inputs_of(spec, seed=seed)
        shake(network, deviation=sharpness)
        trial = Trial(network, inputs, exactly(network, inputs))
        with torch.no_grad():
            own_errors.append((network(**inputs) - trial.exact).flatten())
        trials.append(trial)
    return trials, root_mean_square(own_errors)


@pytest.mark.parametrize("make", WAYS, indirect=True)  # above the others, so it changes first
@pytest.mark.parametrize("sharpness", [0.0, 0.2])
@pytest.mark.parametrize("name", [*SPECS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)])
def test_it_is_no_further_from_float64_than_the_network_itself(make: Make, name: str, sharpness: float) -> None:
    """Root mean square over some networks: the largest single error is as much chance as it is the way's."""
    trials, own_error = try_network(name, sharpness)
    errors = []
    for trial in trials:
        output = make(trial.network).run(as_inputs(trial.inputs))
        assert output.shape == trial.exact.shape
        errors.append((output - trial.exact).flatten())
    assert root_mean_square(errors) <= max(ROUNDING, own_error)


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_where_the_variance_of_a_residual_vanishes(make: Make, part: str) -> None:
    """A number's residual is normalised in closed form; without slope it is flat, without bias nothing is left at 0."""
    spec = network_spec()
    weights, inputs = random_weights(spec), inputs_of(spec)
    for name, tensor in weights.items():
        if name.startswith("prescalers.") and name.endswith(part):
            tensor.zero_()
    own = [column for column, name in enumerate(spec.network.x_reals) if name in spec.metrics]
    inputs["encoder_cont"][:2, :, own] = 0
    network = build(spec, weights)
    exact = exactly(network, inputs)
    np.testing.assert_allclose(make(network).run(as_inputs(inputs)), exact, rtol=0, atol=1e-5)


def root_mean_square(errors: list[torch.Tensor]) -> float:
    return float(torch.cat(errors).square().mean().sqrt())


def test_the_network_is_left_as_it_was(make: Make) -> None:
    spec = network_spec()
    weights = random_weights(spec)
    network = build(spec, {name: tensor.clone() for name, tensor in weights.items()})
    make(network).run(as_inputs(inputs_of(spec)))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_what_stands_behind_a_short_history_has_no_effect(make: Make) -> None:
    spec = network_spec()
    way, inputs = make(build(spec, random_weights(spec))), inputs_of(spec)
    before = way.run(as_inputs(inputs))
    behind = torch.arange(inputs["encoder_cont"].shape[1]) >= inputs["encoder_lengths"][:, None]
    inputs["encoder_cont"][behind] = 1e6
    assert torch.equal(way.run(as_inputs(inputs)), before)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def fleet(servers: int, *, slots: int = 12, seed: int = 0) -> np.ndarray:
    values = busy_values(servers, slots, seed=seed)
    for row in range(0, servers, 3):
        values[row, : row % 7 * slots // 12] = np.nan
    return values


def predictor(prefer: forward_module.Way, spec: ModelSpec | None = None) -> Predictor:
    spec = spec or network_spec()
    return Predictor(spec, raw_tensors(random_weights(spec, seed=1)), device="cpu", prefer=prefer)


@lru_cache
def forecast_plainly() -> Prediction:
    """Of the many blocks, by the network as it is."""
    return predictor("plain").predict(snapshot_of(fleet(1100)))


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("prefer", ["native", "static", "folded"])
def test_a_fleet_of_many_blocks_is_forecast_the_same_by_two_threads_and_by_two_callers(
    prefer: forward_module.Way,
) -> None:
    snapshot = snapshot_of(fleet(1100))
    expected, way = forecast_plainly(), predictor(prefer)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: way.predict(snapshot), range(2))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.rows, expected.rows)
    np.testing.assert_allclose(first.values, expected.values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("servers", [1, 2, 3, 4, 5, 8, 9, 16, 17])
def test_however_full_the_last_block_is(make: Make, servers: int) -> None:
    """Of few servers each takes several of the kernel's lanes, and its time goes through them in parts."""
    spec = network_spec(max_encoder_length=200, max_prediction_length=110)
    features, network = Features(spec), build(spec, random_weights(spec, seed=1))
    snapshot = snapshot_of(fleet(servers, slots=200, seed=2))
    rows = features.warm_rows(snapshot)
    assert len(rows) == servers
    inputs = features.build(snapshot, rows)
    np.testing.assert_allclose(make(network).run(inputs), PlainForward(network).run(inputs), rtol=0, atol=1e-5)


class TestWhichWay:
    def test_native_where_it_was_built_else_folded(self) -> None:
        built = load_library() is not None
        assert predictor("native").compute.startswith("native-" if built else "folded")
        assert predictor("folded").compute == "folded"
        assert predictor("plain").compute == "plain"

    def test_without_a_kernel_it_is_folded_and_the_log_says_so_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(forward_module, "load_library", partial(load_library, tmp_path))
        with caplog.at_level("INFO"):
            assert [predictor("native").compute for _ in range(2)] == ["folded", "folded"]
        assert caplog.text.count("no native kernel is built") == 1

    def test_a_kernel_that_cannot_be_loaded_is_done_without(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "_native.so").write_bytes(b"not for this machine")
        monkeypatch.setattr(forward_module, "load_library", partial(load_library, tmp_path))
        assert predictor("native").compute == "folded"
        assert "the native kernel cannot be loaded" in caplog.text

    def test_a_kernel_of_another_version_is_done_without(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        built = next(native_library.DIRECTORY.glob("_native*.so"), None)
        if built is None:
            pytest.skip("no native kernel is built: there was no C++ compiler at the installation")
        (tmp_path / built.name).symlink_to(built)
        monkeypatch.setattr(native_library, "_VERSION", 0)
        assert load_library(tmp_path) is None
        assert "it was built from another version of network/kernel" in caplog.text

    def test_a_large_network_stays_as_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network = build(network_spec(), random_weights(network_spec()))
        size = count_bytes(network)
        monkeypatch.setattr(forward_module, "FOLDED_UP_TO_BYTES", size)
        assert choose_forward(network, device="cpu", prefer="folded", encoder=12).name == "folded"
        monkeypatch.setattr(forward_module, "FOLDED_UP_TO_BYTES", size - 1)
        assert choose_forward(network, device="cpu", prefer="folded", encoder=12).name == "plain"
