"""The blend of a network and its extras: the stated formula, and files that must not be believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.extras import Tensors, random_extras, state_forecast, with_extras
from support.networks import A_MONDAY, busy_values, network_spec

from nordiq_watch.network.terms.blend import Terms, members_of
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.linear import LinearMember
from nordiq_watch.network.terms.member import UnusableExtras
from nordiq_watch.network.terms.rows import RowsMember
from nordiq_watch.spec import ModelSpec

SPECS = {
    "linear, calibrated": with_extras(),
    "linear": with_extras(calibrated=False),
    "rows": with_extras(members=("rows",)),
    "rows, linear": with_extras(members=("rows", "linear"), slots=9),
    "calibrated network": with_extras(members=()),
    "one target, five quantiles": with_extras(
        network_spec(targets=["cpu_user_pct"], quantiles=(0.05, 0.1, 0.5, 0.9, 0.95)), slots=7
    ),
}


def history_of(values: Any, *, lengths: Any = None) -> HistoryInputs:
    """values (servers, encoder, metrics)."""
    values = torch.from_numpy(np.asarray(values, dtype=np.float32))
    whole = torch.full((len(values),), values.shape[1])
    return HistoryInputs(values, whole if lengths is None else torch.tensor(lengths), torch.tensor([A_MONDAY + 100]))


def network_quantiles(spec: ModelSpec, servers: int, *, seed: int = 1) -> torch.Tensor:
    """Quantiles in order, as a network may have forecast them."""
    chance = np.random.default_rng(seed)
    shape = (servers, len(spec.targets), spec.max_prediction_length, len(spec.quantiles))
    return torch.from_numpy(np.sort(chance.uniform(10, 60, shape)).astype(np.float32))


@pytest.mark.parametrize("slots", [12, 300], ids=["a short past", "a day and more"])
def test_members_compute_on_the_device_of_their_tensors(slots: int) -> None:
    """On torch's device without data, which mixes with no other."""
    spec = with_extras(network_spec(max_encoder_length=slots), members=("linear", "rows"))
    tensors = {name: tensor.to("meta") for name, tensor in random_extras(spec).items()}
    history = history_of(busy_values(5, slots)).to(torch.device("meta"))
    members = LinearMember(spec, tensors, slots=slots), RowsMember(spec, _of_rows(tensors), slots=slots)
    for member in members:
        forecast = member.quantiles(history)
        assert (forecast.device.type, tuple(forecast.shape)) == ("meta", (5, 2, 4, 3))


def _of_rows(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("rows.")}


@pytest.mark.parametrize("name", SPECS)
def test_the_forecast_is_the_stated_one(name: str) -> None:
    spec = SPECS[name]
    tensors, network = random_extras(spec), network_quantiles(spec, 5)
    values, lengths = busy_values(5, 12, len(spec.targets)), [12, 6, 9, 1, 12]
    forecast = Terms(spec, tensors).apply(network, history_of(values, lengths=lengths))
    past = [values[row, :length] for row, length in enumerate(lengths)]
    stated = state_forecast(spec, tensors, network, past, last_slot=A_MONDAY + 100)
    np.testing.assert_allclose(forecast.numpy(), stated, rtol=2e-6, atol=2e-5)
    assert np.abs(forecast.numpy() - network.numpy()).max() > 1


def test_what_lies_behind_the_newest_slot_is_not_read() -> None:
    spec = with_extras()
    terms, network, values = Terms(spec, random_extras(spec)), network_quantiles(spec, 1), busy_values(1, 12)
    other = values.copy()
    other[:, 7:] = 1e6
    forecasts = [terms.apply(network, history_of(array, lengths=[7])) for array in (values, other)]
    assert torch.equal(*forecasts)


def test_the_quantiles_are_in_order_also_where_members_cross() -> None:
    spec = with_extras()
    tensors = random_extras(spec)
    tensors["linear.bias"] = tensors["linear.bias"].flip(dims=(2,)) * 9
    forecast = Terms(spec, tensors).apply(network_quantiles(spec, 8), history_of(busy_values(8, 12)))
    assert bool((forecast.diff(dim=-1) >= 0).all())


def test_all_weight_on_the_network_leaves_it_to_the_bit() -> None:
    spec = with_extras(calibrated=False)
    tensors = random_extras(spec)
    tensors["blend"] = torch.stack([torch.ones(2, 4), torch.zeros(2, 4)])
    network = network_quantiles(spec, 3)
    assert torch.equal(Terms(spec, tensors).apply(network, history_of(busy_values(3, 12))), network)


def test_calibration_moves_the_bands_about_a_median_that_stays() -> None:
    spec = with_extras(members=())
    tensors: Tensors = {"blend": torch.ones(1, 2, 4), "calibration": torch.tensor([2.0, 1, 0.5]).expand(2, 4, 3)}
    network = torch.tensor([10.0, 20, 40]).expand(1, 2, 4, 3)
    forecast = Terms(spec, tensors).apply(network, history_of(busy_values(1, 12)))
    assert forecast[0, 0, 0].tolist() == [0, 20, 30]


def test_each_member_has_its_weight_for_each_target_and_step() -> None:
    spec = with_extras()
    tensors = random_extras(spec)
    weights = Terms(spec, tensors).weights_of(1, 3)
    assert list(weights) == list(members_of(spec)) == ["network", "linear"]
    assert list(weights.values()) == tensors["blend"][:, 1, 3].tolist()
    assert members_of(network_spec()) == ("network",)


def test_its_memory_is_that_of_the_tensors() -> None:
    spec = with_extras()
    tensors = random_extras(spec)
    terms = Terms(spec, tensors)
    assert terms.nbytes == terms.on("cpu").nbytes == sum(tensor.nbytes for tensor in tensors.values())


def replaced(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: change(tensors[name])}


def with_number(name: str, number: float) -> Callable[[Tensors], Tensors]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[1] = number
        return tensor

    return replaced(name, change)


HOSTILE: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "no blend": (lambda tensors: {n: t for n, t in tensors.items() if n != "blend"}, r"1 missing \(blend\)"),
    "no calibration": (lambda tensors: {n: t for n, t in tensors.items() if n != "calibration"}, "calibration"),
    "no weight": (lambda tensors: {n: t for n, t in tensors.items() if n != "linear.weight"}, "linear.weight"),
    "nothing": (lambda tensors: {}, r"2 missing \(blend, calibration\)"),
    "another tensor": (lambda tensors: tensors | {"rows.weight": torch.ones(1)}, r"1 unexpected \(rows.weight\)"),
    "another of the member's": (
        lambda tensors: tensors | {"linear.more": torch.ones(1)},
        r"1 unexpected \(linear.more\)",
    ),
    "a row too many": (replaced("blend", lambda t: torch.cat([t, t])), r"blend \[4, 2, 4\] instead of \[2, 2, 4\]"),
    "a step too few": (replaced("calibration", lambda t: t[:, 1:]), "calibration"),
    "no dimensions": (replaced("blend", lambda t: t[0, 0, 0]), r"blend \[\] instead of"),
    "a floor of zero": (with_number("linear.floor", 0), "linear.floor must be above 0"),
    "features too few": (replaced("linear.weight", lambda t: t[..., 1:]), "linear.weight"),
    "transposed": (replaced("linear.weight", lambda t: t.transpose(0, 1)), "linear.weight"),
    "a negative weight": (replaced("blend", lambda t: torch.stack([t[0] + 2, t[1] - 2])), "negative weight"),
    "weights that sum to 1.1": (replaced("blend", lambda t: t * 1.1), "do not add up to 1"),
    "no weight at all": (replaced("blend", torch.zeros_like), "do not add up to 1"),
    "NaN in the blend": (with_number("blend", float("nan")), "blend in extras.safetensors is not finite"),
    "infinity in a bias": (with_number("linear.bias", float("inf")), "linear.bias in extras.safetensors is not finite"),
    "NaN in a weight": (with_number("linear.weight", float("nan")), "linear.weight"),
    "a negative factor": (replaced("calibration", lambda t: t * -1), "negative factor"),
    "a median that moves": (with_number("calibration", 1.01), "moves the median"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_extras_that_do_not_fit_are_refused_by_name(case: str) -> None:
    spec = with_extras()
    damage, says = HOSTILE[case]
    with pytest.raises(UnusableExtras, match=says):
        Terms(spec, damage(random_extras(spec)))


HOSTILE_ROWS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "no layers": (
        lambda tensors: {n: t for n, t in tensors.items() if n != "rows.inner_weight"},
        "no rows.inner_weight",
    ),
    "a flat layer": (replaced("rows.inner_weight", torch.flatten), "of four dimensions"),
    "too wide": (replaced("rows.inner_weight", lambda t: torch.zeros(1, 1, 1025, 1)), "1 layers of 1025 units"),
    "too deep": (replaced("rows.inner_weight", lambda t: torch.zeros(17, 1, 1, 1)), "17 layers of 1 units"),
    "nothing wide": (replaced("rows.inner_weight", lambda t: t[:, :, :0]), "2 layers of 0 units"),
    "a layer too few elsewhere": (replaced("rows.gate_bias", lambda t: t[1:]), "rows.gate_bias"),
    "one target": (replaced("rows.output", lambda t: t[:1]), r"rows.output \[1, 6, 3\] instead of \[2, 6, 3\]"),
    "another tensor": (lambda tensors: tensors | {"rows.more": torch.ones(1)}, r"1 unexpected \(rows.more\)"),
    "a scale of zero": (with_number("rows.step_scale", 0), "rows.step_scale must be above 0"),
    "a negative floor": (with_number("rows.floor", -1), "rows.floor must be above 0"),
    "NaN in a layer": (with_number("rows.gate_weight", float("nan")), "rows.gate_weight in extras.safetensors is not"),
    "the linear member's as well": (lambda tensors: tensors | {"linear.bias": torch.ones(1)}, r"\(linear.bias\)"),
}


@pytest.mark.parametrize("case", HOSTILE_ROWS)
def test_rows_that_do_not_fit_are_refused_by_name(case: str) -> None:
    spec = with_extras(members=("rows",))
    damage, says = HOSTILE_ROWS[case]
    with pytest.raises(UnusableExtras, match=says):
        Terms(spec, damage(random_extras(spec)))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (with_extras(members=("linear", "gbm", "rows2")), "names 'gbm', this version knows linear, rows"),
        (with_extras(members=("linear", "linear")), "a member twice"),
        (with_extras(slots=13), "slots is 13, the encoder has only 12"),
        (with_extras(network_spec(quantiles=(0.1, 0.4, 0.9))), "needs the quantile 0.5"),
        (network_spec(), "there are no extras"),
    ],
)
def test_a_config_that_cannot_be_computed_is_refused(spec: ModelSpec, says: str) -> None:
    with pytest.raises(UnusableExtras, match=says):
        Terms(spec, {})
