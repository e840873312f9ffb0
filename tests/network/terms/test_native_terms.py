"""The blend in C++ against the documented formula in float64, and the border where Python hands it addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from support.extras import random_extras, state_forecast, with_extras
from support.networks import A_MONDAY, busy_values, network_spec, random_weights, raw_tensors, snapshot_of
from torch import Tensor

from nordiq_watch.network import native_library
from nordiq_watch.network.native_library import LANES, Struct
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.terms import library as terms_library
from nordiq_watch.network.terms.blend import Terms
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.library import load_terms_library
from nordiq_watch.network.terms.native_terms import NativeTerms, choose_blend
from nordiq_watch.spec import ModelSpec

NOT_BUILT = "no native kernel is built: there was no C++ compiler at the installation"
LAST_SLOT = A_MONDAY + 100
METRICS = ("cpu_user_pct", "mem_used_pct", "cpu_sys_pct", "swap_used_pct", "load_average")
BOTH = ("linear", "rows")


@pytest.fixture
def library() -> ctypes.CDLL:
    library = load_terms_library()
    if library is None:
        pytest.skip(NOT_BUILT)
    return library


@dataclass(frozen=True)
class Size:
    """A model and a number of windows. extras: fields of Extras; spec: of ModelSpec; tensors: sizes of the rows."""

    windows: int = 5
    targets: int = 2
    extras: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, int] = field(default_factory=dict)

    def make(self) -> tuple[ModelSpec, dict[str, Tensor]]:
        spec = network_spec(targets=METRICS[: self.targets], **self.spec)
        spec = with_extras(spec, **{"members": BOTH} | dict(self.extras))
        return spec, random_extras(spec, **self.tensors)


TWO_HOURS = {"interval_seconds": 7200}  # a day is 12 slots, the whole encoder
SIZES = {
    "one window, one target": Size(windows=1, targets=1),
    "two full registers and one more": Size(windows=33, targets=3),
    "one less than a register": Size(windows=15),
    "yesterday in the past": Size(windows=7, spec=TWO_HOURS),
    "a horizon of more than two days": Size(spec=TWO_HOURS | {"max_prediction_length": 29}),
    "yesterday, one target, an odd size": Size(targets=1, spec=TWO_HOURS, tensors={"hidden": 33}),
    "a past of five slots": Size(extras={"slots": 5}),
    "a past of one slot": Size(extras={"slots": 1}),
    "a long past": Size(windows=2, extras={"slots": 300}, spec={"max_encoder_length": 301, "max_prediction_length": 7}),
    "linear alone": Size(extras={"members": ("linear",)}),
    "rows alone, five targets": Size(targets=5, extras={"members": ("rows",), "calibrated": False}),
    "rows first": Size(extras={"members": ("rows", "linear")}),
    "no member": Size(extras={"members": ()}),
    "one unit": Size(tensors={"hidden": 1}),
    "no layer": Size(spec=TWO_HOURS, tensors={"layers": 0}),
    "one layer": Size(tensors={"layers": 1, "hidden": 8}),
    "three layers": Size(tensors={"layers": 3, "hidden": 17}, spec=TWO_HOURS),
    "five quantiles": Size(spec={"quantiles": (0.05, 0.1, 0.5, 0.9, 0.95)}),
    "one quantile": Size(spec={"quantiles": (0.5,)}),
}


def history_of(spec: ModelSpec, windows: int, *, seed: int = 0) -> HistoryInputs:
    """Encoders of all lengths, of one metric more than there are targets."""
    encoder = spec.max_encoder_length
    values = busy_values(windows, encoder, len(spec.targets) + 1, seed=seed).astype(np.float32)
    lengths = np.random.default_rng(seed).integers(1, encoder + 1, windows)
    lengths[0] = encoder
    return HistoryInputs(torch.from_numpy(values), torch.from_numpy(lengths), torch.tensor([LAST_SLOT]))


def network_of(spec: ModelSpec, windows: int) -> Tensor:
    shape = (windows, len(spec.targets), spec.max_prediction_length, len(spec.quantiles))
    return torch.from_numpy(np.random.default_rng(1).uniform(10, 60, shape).astype(np.float32))


def stated(spec: ModelSpec, tensors: dict[str, Tensor], network: Tensor, history: HistoryInputs) -> np.ndarray:
    past = [values[:length].numpy() for values, length in zip(history.values, history.lengths, strict=True)]
    return state_forecast(spec, tensors, network, past, last_slot=LAST_SLOT)


@pytest.mark.parametrize(("name", "lanes"), list(product(SIZES, LANES)))
def test_the_forecast_is_the_stated_one(library: ctypes.CDLL, name: str, lanes: int) -> None:
    size = SIZES[name]
    spec, tensors = size.make()
    network, history = network_of(spec, size.windows), history_of(spec, size.windows)
    terms = Terms(spec, tensors)
    found = NativeTerms(terms, library, lanes=lanes).apply(network, history)
    exact = stated(spec, tensors, network, history)
    rounding = np.abs(terms.apply(network, history).numpy() - exact).max()  # torch's, in float32
    assert np.abs(found.numpy() - exact).max() <= 2 * rounding + 2e-5
    if size.extras.get("members") != ():
        assert np.abs(found.numpy() - network.numpy()).max() > 1


def test_a_whole_model_with_gaps_forecasts_as_torch_does(library: ctypes.CDLL) -> None:
    """14 targets in windows with gaps, short encoders, a metric that was never measured."""
    spec = with_extras(network_spec(targets=[f"metric_{number}" for number in range(14)]), members=BOTH)
    values = busy_values(21, 12, 14)
    values[0, 3:6, 2] = values[1, :, 5] = values[2, :4] = values[3, -1, 0] = np.nan
    snapshot = snapshot_of(values, metrics=spec.metrics)
    weights, extras = raw_tensors(random_weights(spec)), raw_tensors(random_extras(spec))
    native, folded = (
        Predictor(spec, weights, device="cpu", extras=extras, prefer=way).predict(snapshot).values
        for way in ("native", "folded")
    )
    np.testing.assert_allclose(native, folded, rtol=2e-6, atol=1e-4)
    assert np.isnan(native[1, 5]).all()
    assert np.isfinite(np.delete(native[1], 5, axis=0)).all()


def test_threads_share_the_windows(library: ctypes.CDLL) -> None:
    spec, tensors = SIZES["yesterday in the past"].make()
    network, history = network_of(spec, 70), history_of(spec, 70)
    native, threads = NativeTerms(Terms(spec, tensors), library), torch.get_num_threads()
    alone = native.apply(network, history)
    torch.set_num_threads(3)
    try:
        assert torch.equal(native.apply(network, history), alone)
    finally:
        torch.set_num_threads(threads)


def test_one_window_s_numbers_are_its_own(library: ctypes.CDLL) -> None:
    """Also where its neighbour in the register has none."""
    spec, tensors = SIZES["one window, one target"].make()
    network, history = network_of(spec, 9), history_of(spec, 9)
    native = NativeTerms(Terms(spec, tensors), library)
    before = native.apply(network, history)
    history.values[4], network[4] = torch.nan, torch.nan
    after = native.apply(network, history)
    others = [number for number in range(9) if number != 4]
    assert torch.equal(after[others], before[others])
    assert bool(after[4].isnan().all())


def test_arrays_that_are_not_contiguous_are_read_right(library: ctypes.CDLL) -> None:
    spec, tensors = SIZES["yesterday in the past"].make()
    network, history = network_of(spec, 5), history_of(spec, 5)
    native = NativeTerms(Terms(spec, tensors), library)
    expected = native.apply(network, history)
    strided = [torch.stack([part, part], dim=-1)[..., 0] for part in (network, history.values, history.lengths)]
    assert not strided[0].is_contiguous()
    found = native.apply(strided[0], HistoryInputs(strided[1], strided[2], history.last_slots))
    assert torch.equal(found, expected)


class TestTheBorder:
    """The kernel takes lengths and sizes as indices: one that is out of range must not get there."""

    @pytest.mark.parametrize(
        ("spoil", "told"),
        [
            (lambda past: replace(past, lengths=past.lengths * 0), "lengths go from 0 to 0; 1 to 12 slots are there"),
            (lambda past: replace(past, lengths=past.lengths * 0 + 13), "lengths go from 13 to 13"),
            (lambda past: replace(past, lengths=past.lengths[:-1]), r"lengths \(4,\)"),
            (lambda past: replace(past, lengths=past.lengths.int()), "int32 lengths"),
            (lambda past: replace(past, last_slots=past.last_slots.expand(5)), r"newest slots \(5,\)"),
            (lambda past: replace(past, values=past.values[..., :1]), "and 2 targets"),
            (lambda past: replace(past, values=past.values[:, :0]), "it must be float32 and have windows"),
            (lambda past: replace(past, values=past.values.double()), "the history is float64"),
        ],
    )
    def test_a_history_that_does_not_fit_is_refused(
        self, library: ctypes.CDLL, spoil: Callable[[HistoryInputs], HistoryInputs], told: str
    ) -> None:
        spec, tensors = Size().make()
        native = NativeTerms(Terms(spec, tensors), library)
        with pytest.raises(ValueError, match=told):
            native.apply(network_of(spec, 5), spoil(history_of(spec, 5)))

    @pytest.mark.parametrize("cut", [lambda network: network[1:], lambda network: network.double()])
    def test_quantiles_that_do_not_fit_are_refused(self, library: ctypes.CDLL, cut: Callable[[Tensor], Tensor]) -> None:
        spec, tensors = Size().make()
        native = NativeTerms(Terms(spec, tensors), library)
        with pytest.raises(ValueError, match="the network's quantiles are"):
            native.apply(cut(network_of(spec, 5)), history_of(spec, 5))


class TestWhichWay:
    @pytest.fixture
    def terms(self) -> Terms:
        return Terms(*Size().make())

    def test_native_where_it_is_built(self, library: ctypes.CDLL, terms: Terms) -> None:
        assert isinstance(choose_blend(terms, prefer="native", device="cpu"), NativeTerms)

    @pytest.mark.parametrize("where", [{"prefer": "folded", "device": "cpu"}, {"prefer": "native", "device": "cuda"}])
    def test_torch_where_it_was_asked_for_or_on_a_gpu(self, terms: Terms, where: Any) -> None:
        assert choose_blend(terms, **where) is terms

    def test_torch_where_the_library_does_not_fit(
        self, library: ctypes.CDLL, terms: Terms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        class LinearTerm(Struct):
            _fields_: ClassVar = terms_library.LinearTerm._fields_[::-1]

        monkeypatch.setattr(terms_library, "STRUCTS", (LinearTerm, *terms_library.STRUCTS[1:]))
        load_terms_library.cache_clear()
        try:
            assert choose_blend(terms, prefer="native", device="cpu") is terms
        finally:
            load_terms_library.cache_clear()
        assert "the native blend cannot be used (its LinearTerm.floor is 8 bytes at 0, in library.py" in caplog.text
        assert "what extras add is computed by torch" in caplog.text

    def test_torch_without_a_library(self, tmp_path: Path) -> None:
        assert native_library.load_library(tmp_path) is load_terms_library(tmp_path) is None

    def test_none_for_a_model_without_extras(self) -> None:
        assert choose_blend(None, prefer="native", device="cpu") is None
