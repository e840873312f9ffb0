"""The forward pass on static buffers: here with the graphs off, and on a GPU, where there is one, with them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.extras import random_extras, with_extras
from support.gpu import needs_a_gpu
from support.networks import busy_values, network_spec, random_weights, raw_tensors, snapshot_of
from support.variety import ENCODER, SPECS, as_inputs, build, inputs_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nordiq_watch.network.features import Inputs
from nordiq_watch.network.forward import choose_forward
from nordiq_watch.network.fused import FoldedForward
from nordiq_watch.network.fused_weights import fuse, narrow
from nordiq_watch.network.graphs import StaticForward, largest_portion, padded
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.network.weights import move_network
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
"""In scaled units: the same sums in another order."""


def network_of(spec: ModelSpec, *, seed: int = 0) -> TemporalFusionTransformer:
    return build(spec, random_weights(spec, seed=seed))


def portion(spec: ModelSpec, servers: int, *, seed: int = 0) -> Inputs:
    """Inputs with whole encoders."""
    inputs = inputs_of(spec, seed=seed, lengths=torch.full((servers,), ENCODER))
    return as_inputs(inputs)


def on(device: str, inputs: Inputs) -> Inputs:
    return replace(
        inputs,
        encoder_cat=inputs.encoder_cat.to(device),
        encoder_cont=inputs.encoder_cont.to(device),
        decoder_cat=inputs.decoder_cat.to(device),
        decoder_cont=inputs.decoder_cont.to(device),
    )


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class TestSizes:
    @pytest.mark.parametrize(("servers", "size"), [(1, 32), (32, 32), (33, 64), (64, 64), (65, 128), (1000, 1024)])
    def test_a_portion_is_filled_up_to_a_power_of_two(self, servers: int, size: int) -> None:
        assert padded(servers) == size

    @pytest.mark.parametrize(("hidden", "most"), [(8, 1024), (32, 1024), (48, 512), (128, 256), (320, 64), (2048, 32)])
    def test_the_larger_the_network_the_smaller_the_portions(self, hidden: int, most: int) -> None:
        assert largest_portion(hidden) == most


class TestWithTheGraphsOff:
    @pytest.mark.parametrize("name", SPECS)
    def test_a_whole_portion_is_what_the_folded_forward_makes_of_it(self, name: str) -> None:
        network = network_of(SPECS[name])
        static, folded = StaticForward(network, encoder=ENCODER), FoldedForward(network)
        assert (static.name, static.sizes) == ("folded", ())
        for seed, servers in enumerate((5, 40, 33, 1)):  # rows behind a smaller portion keep what was there
            inputs = portion(SPECS[name], servers, seed=seed)
            torch.testing.assert_close(static.run(inputs), folded.run(inputs), rtol=0, atol=TOLERANCE)

    def test_shorter_encoders_are_computed_too(self) -> None:
        spec = network_spec()
        network = network_of(spec)
        inputs = as_inputs(inputs_of(spec))
        output = StaticForward(network, encoder=ENCODER).run(inputs)
        assert torch.equal(output, FoldedForward(network).run(inputs))

    def test_what_was_fetched_stays_what_it_is(self) -> None:
        spec = network_spec()
        static = StaticForward(network_of(spec), encoder=ENCODER)
        first = static.run(portion(spec, 5))
        kept = first.clone()
        static.run(portion(spec, 5, seed=1))
        assert torch.equal(first, kept)

    @pytest.mark.usefixtures("two_threads")
    def test_callers_take_turns_on_the_buffers(self) -> None:
        spec = network_spec()
        static, portions = StaticForward(network_of(spec), encoder=ENCODER), [portion(spec, 32, seed=n) for n in (0, 1)]
        expected = [static.run(inputs) for inputs in portions]
        with ThreadPoolExecutor(2) as pool:
            outputs = list(pool.map(static.run, portions * 20))
        for number, output in enumerate(outputs):
            assert torch.equal(output, expected[number % 2])

    def test_a_fleet_is_forecast_in_whole_portions_and_short_ones(self) -> None:
        spec = network_spec()
        values = busy_values(1500, ENCODER, seed=3)
        values[::3, :4] = np.nan  # short histories among whole ones
        values[7, 5] = np.nan  # a gap
        snapshot = snapshot_of(values)
        tensors = random_weights(spec, seed=1)
        static, plain = (
            Predictor(spec, raw_tensors(tensors), device="cpu", prefer=way).predict(snapshot)
            for way in ("static", "plain")
        )
        np.testing.assert_array_equal(static.rows, plain.rows)
        np.testing.assert_allclose(static.values, plain.values, rtol=0, atol=1e-4)


class HostWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation in which a tensor in host memory takes part, or may have: indices can come from a list."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(
        self,
        operation: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if "index" in str(operation) or any(tensor.device.type == "cpu" for tensor in tensors):
            self.seen.append(str(operation))
        return result


@pytest.mark.parametrize("name", SPECS)
def test_what_is_captured_touches_no_host_memory_and_asks_for_no_data(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph cannot be captured of either. `meta` stands in for a GPU: there is no data, and asking for any raises."""
    network, inputs = network_of(SPECS[name]), portion(SPECS[name], 5)
    fused = narrow(fuse(network), torch.device("meta"))
    there = FoldedForward(move_network(network, "meta"), fused)
    parts = (inputs.encoder_cat, inputs.encoder_cont, inputs.decoder_cat, inputs.decoder_cont)
    moved = [part.to("meta") for part in parts]
    expected = FoldedForward(network).run_whole(*parts)
    with HostWatch() as watch, monkeypatch.context() as patched:
        patched.delattr(torch, "tensor")  # copies Python's numbers to the device, which no watch sees
        output = there.run_whole(*moved)
    assert watch.seen == []
    assert output.shape == expected.shape


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU here, a graph of host memory is another matter")
def test_where_no_graph_can_be_captured_it_is_computed_without_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = network_spec()
    network, inputs = network_of(spec), portion(spec, 5)
    static = StaticForward(network, encoder=ENCODER, captures=True)
    assert static.name == "folded-graph"
    for _ in range(2):
        torch.testing.assert_close(static.run(inputs), FoldedForward(network).run(inputs), rtol=0, atol=TOLERANCE)
    assert static.name == "folded"
    assert caplog.text.count("no CUDA graph can be captured") == 1


def test_on_a_gpu_float32_is_not_shortened() -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        choose_forward(network_of(network_spec()), device="cuda", prefer="native", encoder=ENCODER)
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


@needs_a_gpu
class TestOnAGpu:
    def test_a_replay_is_what_the_kernels_give_one_by_one(self) -> None:
        spec = network_spec()
        host = network_of(spec)
        static = choose_forward(move_network(host, "cuda"), device="cuda", prefer="native", encoder=ENCODER)
        eager = StaticForward(move_network(host, "cuda"), encoder=ENCODER, captures=False)
        for seed, servers in enumerate((5, 100, 5, 33)):  # smaller sizes first, and one again
            inputs = portion(spec, servers, seed=seed)
            output = static.run(inputs)
            torch.testing.assert_close(output, static.run(on("cuda", inputs)), rtol=0, atol=0)
            torch.testing.assert_close(output, eager.run(inputs), rtol=0, atol=TOLERANCE)
            torch.testing.assert_close(output, FoldedForward(host).run(inputs), rtol=0, atol=1e-4)
        assert (static.name, static.sizes) == ("folded-graph", (32, 64, 128))  # type: ignore[attr-defined]

    def test_a_model_with_extras_forecasts_as_in_host_memory(self) -> None:
        spec = with_extras(members=("linear", "rows"))
        extras = raw_tensors(random_extras(spec))
        host = Predictor(spec, raw_tensors(random_weights(spec)), device="cpu", extras=extras)
        values = busy_values(40, ENCODER)
        values[::3, :4] = np.nan
        snapshot = snapshot_of(values)
        there = host.on("cuda")
        np.testing.assert_allclose(there.predict(snapshot).values, host.predict(snapshot).values, rtol=1e-5, atol=1e-3)
        assert there.weight_bytes == host.weight_bytes

    def test_a_swap_leaves_both_models_right_and_frees_the_old_ones_memory(self) -> None:
        spec = network_spec()
        inputs = portion(spec, 40)
        first, second = network_of(spec, seed=1), network_of(spec, seed=2)
        expected = [FoldedForward(network).run(inputs) for network in (first, second)]
        live = StaticForward(move_network(first, "cuda"), encoder=ENCODER)
        torch.testing.assert_close(live.run(inputs), expected[0], rtol=0, atol=1e-4)
        alone = allocated()
        candidate = StaticForward(move_network(second, "cuda"), encoder=ENCODER)
        torch.testing.assert_close(candidate.run(inputs), expected[1], rtol=0, atol=1e-4)
        torch.testing.assert_close(live.run(inputs), expected[0], rtol=0, atol=1e-4)
        live = candidate
        del candidate
        assert allocated() <= 1.1 * alone
        torch.testing.assert_close(live.run(inputs), expected[1], rtol=0, atol=1e-4)

    def test_one_model_is_captured_while_another_forecasts(self) -> None:
        spec = network_spec()
        networks = [move_network(network_of(spec, seed=seed), "cuda") for seed in (1, 2)]
        inputs = portion(spec, 40)
        live = StaticForward(networks[0], encoder=ENCODER)
        expected = live.run(inputs)
        with ThreadPoolExecutor(2) as pool:
            swap = pool.submit(lambda: [StaticForward(networks[1], encoder=ENCODER).run(inputs) for _ in range(5)])
            answers = [live.run(inputs) for _ in range(200)]
            candidates = swap.result()
        assert all(torch.equal(answer, expected) for answer in answers)
        assert all(torch.equal(answer, candidates[0]) for answer in candidates)


def allocated() -> int:
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.memory_allocated()
