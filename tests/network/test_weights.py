from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.networks import network_spec, random_weights, raw_tensors, with_network

from nordiq_watch.network.weights import WeightsMismatch, build_network
from nordiq_watch.records.models import RawTensor
from nordiq_watch.spec import ModelSpec

SPEC = network_spec()
GATE = "post_lstm_gate_encoder.fc.weight"
GATE_AGAIN = "post_lstm_gate_decoder.fc.weight"
PRESCALER = "encoder_variable_selection.prescalers.hour_sin.weight"


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return random_weights(SPEC)


def test_the_networks_weights_are_the_files(weights: dict[str, torch.Tensor]) -> None:
    network = build_network(SPEC.network, raw_tensors(weights), device="cpu")
    state = network.state_dict()
    assert state.keys() == weights.keys()
    for name, tensor in weights.items():
        assert torch.equal(state[name], tensor)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_no_weights_are_drawn_that_the_file_replaces(
    weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[torch.Tensor] = []

    def draw(tensor: torch.Tensor, *_: float, **__: object) -> torch.Tensor:
        drawn.append(tensor)
        return tensor

    for name in ("uniform_", "normal_"):
        monkeypatch.setattr(torch.Tensor, name, draw)
    build_network(SPEC.network, raw_tensors(weights), device="cpu")
    assert drawn == []
    torch.nn.Linear(2, 2)
    assert drawn != []  # it would have been seen


def test_weights_are_not_copied(weights: dict[str, torch.Tensor]) -> None:
    tensors = raw_tensors(weights)
    network = build_network(SPEC.network, tensors, device="cpu")
    addresses = {np.frombuffer(tensor.data, np.uint8).ctypes.data for tensor in tensors.values()}
    assert {parameter.data_ptr() for parameter in network.parameters()} <= addresses


def test_shared_parameters_stay_shared(weights: dict[str, torch.Tensor]) -> None:
    network = build_network(SPEC.network, raw_tensors(weights), device="cpu")
    assert network.post_lstm_gate_encoder.fc.weight is network.post_lstm_gate_decoder.fc.weight
    assert network.prescalers["hour_sin"].weight is network.encoder_variable_selection.prescalers["hour_sin"].weight


@pytest.mark.parametrize("spec", [SPEC, with_network(SPEC, share_single_variable_networks=True)], ids=["own", "shared"])
@pytest.mark.parametrize("keep", ["first", "last"])
def test_a_file_may_hold_a_shared_parameter_once_under_any_of_its_names(spec: ModelSpec, keep: str) -> None:
    full = build_network(spec.network, raw_tensors(random_weights(spec)), device="cpu")
    names: dict[int, str] = {}
    for name, parameter in full.named_parameters(remove_duplicate=False):
        if keep == "last" or id(parameter) not in names:
            names[id(parameter)] = name
    weights = random_weights(spec)
    once = {name: weights[name] for name in names.values()}
    assert len(once) < len(weights)
    state = build_network(spec.network, raw_tensors(once), device="cpu").state_dict()
    for name, tensor in weights.items():
        assert torch.equal(state[name], tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    tensors = raw_tensors({name: tensor.to(dtype) for name, tensor in weights.items()})
    for name, tensor in build_network(SPEC.network, tensors, device="cpu").state_dict().items():
        assert torch.equal(tensor, weights[name].to(dtype).float())


class TestRefusals:
    def refused(self, tensors: dict[str, RawTensor], spec: ModelSpec = SPEC) -> str:
        with pytest.raises(WeightsMismatch) as refusal:
            build_network(spec.network, tensors, device="cpu")
        message = str(refusal.value)
        assert "\n" not in message
        return message

    def test_a_missing_tensor_is_named(self, weights: dict[str, torch.Tensor]) -> None:
        del weights["pos_wise_ff.fc1.weight"]
        assert "1 missing (pos_wise_ff.fc1.weight)" in self.refused(raw_tensors(weights))

    def test_a_tensor_too_many_is_named(self, weights: dict[str, torch.Tensor]) -> None:
        weights["surplus.weight"] = torch.zeros(3)
        assert "1 unexpected (surplus.weight)" in self.refused(raw_tensors(weights))

    def test_another_shape_is_named_with_both_shapes(self, weights: dict[str, torch.Tensor]) -> None:
        weights["pos_wise_ff.fc1.bias"] = torch.zeros(9)
        assert "1 of another shape (pos_wise_ff.fc1.bias [9] instead of [8])" in self.refused(raw_tensors(weights))

    def test_a_missing_name_of_a_shared_parameter_does_not_hide_a_wrong_shape(
        self, weights: dict[str, torch.Tensor]
    ) -> None:
        del weights[GATE]
        weights[GATE_AGAIN] = torch.zeros(2, 2)
        assert f"2 of another shape ({GATE} [2, 2]" in self.refused(raw_tensors(weights))

    def test_many_differences_are_counted_and_the_first_ones_named(self) -> None:
        message = self.refused(raw_tensors(random_weights(SPEC)), with_network(SPEC, hidden_size=16, lstm_layers=2))
        assert "8 missing (lstm_encoder.weight_ih_l1, lstm_encoder.weight_hh_l1, lstm_encoder.bias_ih_l1, …)" in message
        assert "of another shape (" in message
        assert len(message) < 500

    def test_names_of_one_parameter_with_different_values_are_refused(self, weights: dict[str, torch.Tensor]) -> None:
        weights[PRESCALER] = weights[PRESCALER] + 1
        message = self.refused(raw_tensors(weights))
        assert "prescalers.hour_sin.weight" in message
        assert PRESCALER in message

    def test_a_type_that_no_weight_has_is_refused(self, weights: dict[str, torch.Tensor]) -> None:
        weights["pos_wise_ff.fc1.bias"] = torch.zeros(8, dtype=torch.int32)
        assert "pos_wise_ff.fc1.bias is of type I32" in self.refused(raw_tensors(weights))

    def test_bytes_that_do_not_fit_the_shape_are_refused(self, weights: dict[str, torch.Tensor]) -> None:
        tensors = raw_tensors(weights)
        tensors["pos_wise_ff.fc1.bias"] = replace(tensors["pos_wise_ff.fc1.bias"], data=memoryview(bytearray(12)))
        assert "pos_wise_ff.fc1.bias has 12 bytes" in self.refused(tensors)

    def test_nothing_at_all_is_refused(self) -> None:
        assert "missing (" in self.refused({})
