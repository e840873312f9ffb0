"""The native training step against float64 autograd of the library's own network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
import torch
from support.gradients import (
    as_double,
    batches_of,
    exact_gradients,
    largest_error,
    library_loss,
    mixed_batch,
    network_of,
    settings,
    split_of,
    take_gradients,
)
from support.networks import shake

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.network.native_library import LANES, load_library
from nordiq_watch.network.training_library import load_training_library
from nordiq_watch.training.forecaster import Forecaster
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.native_loss import NativeLoss
from nordiq_watch.training.timeseries import Split

RELATIVE = 1e-4
DRAWS = 300
NOT_BUILT = "no native kernel is built: there was no C++ compiler at the installation"


@pytest.fixture(scope="module", autouse=True)
def kernel() -> Any:
    if load_library() is None:
        pytest.skip(NOT_BUILT)
    library = load_training_library()
    assert library is not None, "the kernel was built from other sources: python setup.py build_ext --inplace"
    return library


@dataclass
class Case:
    """A network and a batch. trained: after some steps of the library, not with noise on all weights.

    own_known: the known inputs differ per window, in the encoder and in the decoder.
    """

    sizes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    hparams: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = False
    own_known: bool = False

    @cached_property
    def config(self) -> TrainingSettings:
        return settings(**self.sizes)

    @cached_property
    def split(self) -> Split:
        return split_of(self.config, **self.data)

    @cached_property
    def batch(self) -> Batch:
        batch = mixed_batch(self.split, self.config)
        if self.own_known:
            chance = torch.Generator().manual_seed(1)
            for part in ("encoder_cont", "decoder_cont"):
                batch[0][part].normal_(generator=chance)
        return batch

    @cached_property
    def network(self) -> Forecaster:
        network = network_of(self.split, self.config, **self.hparams)
        if not self.trained:
            shake(network, deviation=0.2)
            return network
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for batch in batches_of(self.split, self.config, count=20, seed=2):
            optimizer.zero_grad()
            library_loss(network, batch).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        network.zero_grad()
        return network

    @cached_property
    def exact(self) -> tuple[float, Mapping[str, torch.Tensor]]:
        return exact_gradients(self.network, self.batch)


CASES = {
    "two targets": Case(),
    "one target": Case(data={"metrics": 1}),
    "half trained": Case(trained=True, sizes={"hidden_size": 16, "batch_size": 40}),
    "servers and statuses": Case(
        sizes={"hidden_size": 16, "attention_heads": 3, "batch_size": 40},
        data={"metrics": 3, "status": True, "per_server": True},
    ),
    "half trained, servers and statuses": Case(
        trained=True, sizes={"batch_size": 21}, data={"status": True, "per_server": True}
    ),
    "smallest": Case(sizes={"hidden_size": 4, "attention_heads": 1, "batch_size": 1}, data={"metrics": 1}),
    "known inputs of each window's own": Case(own_known=True),
    "three LSTM layers": Case(hparams={"lstm_layers": 3}),
    "embeddings as wide as the network, and wider": Case(
        hparams={"hidden_continuous_size": 8, "hidden_continuous_sizes": {"hour_sin": 11, "metric_0": 3}}
    ),
    "looking ahead": Case(hparams={"causal_attention": False}),
    "wide": Case(sizes={"hidden_size": 72, "attention_heads": 5, "batch_size": 17}, trained=True),
    "fourteen targets": Case(sizes={"batch_size": 20}, data={"metrics": 14, "status": True}),
    "long horizon": Case(sizes={"max_prediction_length": 17, "max_encoder_length": 10, "batch_size": 33}),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.mark.parametrize("lanes", LANES)
def test_loss_and_gradients_are_those_of_the_library(case: Case, lanes: int, kernel: Any) -> None:
    exact_loss, exact = case.exact
    loss = NativeLoss(case.network, kernel, lanes=lanes)(case.batch)
    loss.backward()  # type: ignore[no-untyped-call]
    error, where = largest_error(take_gradients(case.network), exact)
    assert float(loss.detach()) == pytest.approx(exact_loss, rel=1e-5)
    assert error < RELATIVE, where


def test_joined_weights_get_all_gradients_in_one(kernel: Any) -> None:
    case = CASES["servers and statuses"]
    network = network_of(case.split, case.config)
    network.load_state_dict(case.network.state_dict())
    native = NativeLoss.of(network, join=True)
    assert native is not None
    native(case.batch).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in network.parameters())
    gradients = [tensor.grad for tensor in native.weights.tensors if tensor.grad is not None]
    found = {name: gradient.double() for name, gradient in native.weights.by_name(gradients).items()}
    assert largest_error(found, case.exact[1])[0] < RELATIVE


def test_a_factor_of_the_loss_is_one_of_its_gradients(kernel: Any) -> None:
    case = CASES["two targets"]
    (3.0 * NativeLoss(case.network, kernel)(case.batch)).backward()  # type: ignore[no-untyped-call]
    thrice = {name: gradient / 3.0 for name, gradient in take_gradients(case.network).items()}
    assert largest_error(thrice, case.exact[1])[0] < RELATIVE


def test_a_batch_has_encoders_of_several_lengths_and_labels_that_are_hidden() -> None:
    x, _ = CASES["servers and statuses"].batch
    assert len(x["encoder_lengths"].unique()) > 2
    assert (x["encoder_cat"][:, 0] == 0).any(dim=0).all()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing_but_the_order_of_additions(threads: int) -> None:
    case = CASES["servers and statuses"]
    native = NativeLoss.of(case.network)
    assert native is not None
    torch.set_num_threads(threads)
    try:
        results = []
        for _ in range(2):
            native(case.batch).backward()  # type: ignore[no-untyped-call]
            results.append(take_gradients(case.network))
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(first, second) for first, second in zip(*(r.values() for r in results), strict=True))
    assert largest_error(results[0], case.exact[1])[0] < RELATIVE


def test_200_steps_of_training_lie_beside_the_librarys_in_float64() -> None:
    config = settings()
    split = split_of(config, status=True, per_server=True)
    batches = batches_of(split, config, count=200)
    ours = network_of(split, config)
    single, library = copy.deepcopy(ours), copy.deepcopy(ours).double()
    native = NativeLoss.of(ours)
    assert native is not None
    curve = train(ours, native, batches)
    theirs = train(single, lambda batch: library_loss(single, batch), batches)
    torch.set_default_dtype(torch.float64)
    try:
        expected = train(library, lambda batch: library_loss(library, as_double(batch)), batches)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(curve[:50], expected[:50], rtol=1e-4, atol=0)
    rounding = float((theirs / expected - 1).abs().max())  # it grows with each step, in the library's float32 as well
    torch.testing.assert_close(curve, expected, rtol=max(5e-3, 3 * rounding), atol=0)
    assert float(curve[-20:].mean()) < 0.9 * float(curve[:20].mean())


DROPOUT = {
    "two targets": Case(hparams={"dropout": 0.3}),
    "two LSTM layers": Case(hparams={"dropout": 0.1, "lstm_layers": 2}, data={"status": True}),
}


@pytest.fixture(params=DROPOUT, ids=lambda name: name.replace(" ", "-"))
def dropping(request: pytest.FixtureRequest) -> Case:
    return DROPOUT[request.param]


@pytest.mark.parametrize("lanes", LANES)
def test_with_dropout_gradients_are_those_of_the_loss_with_the_same_activations(
    dropping: Case, lanes: int, kernel: Any
) -> None:
    """The slope of the loss along its gradient is the gradient's length."""
    network = dropping.network
    native = NativeLoss(network, kernel, lanes=lanes)

    def loss() -> torch.Tensor:
        torch.manual_seed(5)
        return native(dropping.batch)

    loss().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    length = float(torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt())
    step = 1e-3
    with torch.no_grad():
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.add_(gradient, alpha=step / length)
        above = float(loss())
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.sub_(gradient, alpha=2 * step / length)
        below = float(loss())
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            parameter.add_(gradient, alpha=step / length)
    assert (above - below) / (2 * step) == pytest.approx(length, rel=0.01)


def test_dropout_raises_the_loss_as_the_librarys_does(dropping: Case) -> None:
    """The mean of the loss over many draws is the library's. Its spread is a little larger: windows with a calendar
    value in common have its dropped features in common.
    """
    network = dropping.network.train()
    native = NativeLoss.of(network)
    assert native is not None
    torch.manual_seed(0)
    with torch.no_grad():
        ours = torch.stack([native(dropping.batch) for _ in range(DRAWS)])
        theirs = torch.stack([library_loss(network, dropping.batch) for _ in range(DRAWS)])
    error = float((ours.var() / DRAWS + theirs.var() / DRAWS).sqrt())
    assert float(ours.mean()) == pytest.approx(float(theirs.mean()), abs=4 * error)
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.5)


def test_torchs_generator_decides_what_is_dropped() -> None:
    native = NativeLoss.of(DROPOUT["two targets"].network)
    assert native is not None
    torch.manual_seed(3)
    first, other = (float(native(DROPOUT["two targets"].batch)) for _ in range(2))
    torch.manual_seed(3)
    assert float(native(DROPOUT["two targets"].batch)) == first != other


def train(network: Forecaster, loss_of: Any, batches: list[Batch]) -> torch.Tensor:
    """(batches,): the loss of each batch before the step that it led to."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().double())
    return torch.stack(losses)
