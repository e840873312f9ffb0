"""Against pytorch-forecasting's encoders, one series at a time."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from pytorch_forecasting.data.encoders import EncoderNormalizer, TorchNormalizer
from support.networks import busy_values

from nordiq_watch.network.normalizers import Normalized, normalize, restore
from nordiq_watch.spec import CenterScale, TargetNormalizer, Transformation

LENGTHS = [30, 17, 30, 2]
SERVERS = ["a", "b", "c", "d"]


@pytest.fixture
def history() -> torch.Tensor:
    return torch.from_numpy(busy_values(4, 30, 1)[..., 0].copy())


def share(history: torch.Tensor) -> torch.Tensor:
    return history / 100  # what logit is defined on


ENCODER_CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all": ({}, {}),
    "centre on the last value": ({"max_length": [1, 20]}, {"center_length": 1, "scale_length": 20}),
    "scale of the last values": ({"max_length": [12, 5]}, {"center_length": 12, "scale_length": 5}),
    "one length": ({"max_length": 6}, {"center_length": 6, "scale_length": 6}),
    "robust": ({"method": "robust"}, {"method": "robust"}),
    "identity": ({"method": "identity"}, {"method": "identity"}),
    "identity, not centred": ({"method": "identity", "center": False}, {"method": "identity", "center": False}),
    "not centred": ({"center": False}, {"center": False}),
}


@pytest.mark.parametrize("transformation", [None, *get_args(Transformation)])
@pytest.mark.parametrize("case", ENCODER_CASES)
def test_encoders_are_measured_as_the_library_measures_them(
    history: torch.Tensor, case: str, transformation: Transformation | None
) -> None:
    theirs, ours = ENCODER_CASES[case]
    history = share(history)
    spec = TargetNormalizer(kind="encoder", transformation=transformation, **ours)
    scaled = normalize(spec, history, lengths=torch.tensor(LENGTHS), servers=SERVERS)
    for row, length in enumerate(LENGTHS):
        library = EncoderNormalizer(transformation=transformation, **theirs)
        library.fit(history[row, :length])
        assert scaled.input_scale[row].tolist() == pytest.approx(library.get_parameters().tolist(), abs=4e-7, rel=1e-6)
        torch.testing.assert_close(
            scaled.values[row, :length], library.transform(history[row])[:length], rtol=2e-6, atol=4e-6
        )
    assert torch.equal(scaled.output_scale, scaled.input_scale)


@pytest.mark.parametrize("transformation", [None, *get_args(Transformation)])
def test_output_is_restored_bit_for_bit(transformation: Transformation | None) -> None:
    output = torch.linspace(-30, 30, 24).reshape(2, 4, 3)
    scale = torch.tensor([[0.5, 0.25], [-1.0, 1.5]])
    library = TorchNormalizer(transformation=transformation)
    expected = library({"prediction": output.clone(), "target_scale": scale})
    spec = TargetNormalizer(kind="fixed", transformation=transformation, missing=CenterScale(0.0, 1.0))
    assert torch.equal(restore(spec, output, output_scale=scale), expected)


def test_a_constant_history_is_scaled_to_zero_and_comes_back(history: torch.Tensor) -> None:
    spec = TargetNormalizer(kind="encoder", transformation="relu", center_length=1)
    constant = torch.full((1, 20), 37.3)
    scaled = normalize(spec, constant, lengths=torch.tensor([20]), servers=["a"])
    assert not scaled.values.any()
    back = restore(spec, torch.tensor([[[-1.0, 0.0, 1.0]]]), output_scale=scaled.output_scale)
    np.testing.assert_allclose(back, 37.3, atol=1e-5)


class TestTables:
    spec = TargetNormalizer(
        kind="group",
        groups={"a": CenterScale(10.0, 2.0), "b": CenterScale(50.0, 4.0)},
        missing=CenterScale(20.0, 5.0),
    )

    def scaled(self, spec: TargetNormalizer) -> Normalized:
        return normalize(spec, torch.full((3, 2), 60.0), lengths=torch.tensor([2, 2, 2]), servers=["b", "new", "a"])

    def test_each_server_has_its_own_scale_and_a_new_one_that_of_the_missing(self) -> None:
        scaled = self.scaled(self.spec)
        assert scaled.values[:, 0].tolist() == [2.5, 8.0, 25.0]
        assert scaled.output_scale.tolist() == [[50, 4], [20, 5], [10, 2]]
        assert scaled.output_scale.dtype == scaled.values.dtype == torch.float32

    def test_a_table_of_its_own_for_the_output_leaves_the_input_as_it_is(self) -> None:
        scaled = self.scaled(replace(self.spec, output_groups={"b": CenterScale(10.0, 2.0)}))
        assert scaled.values[:, 0].tolist() == [2.5, 8.0, 25.0]
        assert scaled.input_scale[:, 0].tolist() == [50, 20, 10]
        assert scaled.output_scale.tolist() == [[10, 2], [20, 5], [20, 5]]

    def test_tables_are_applied_in_float64(self) -> None:
        spec = TargetNormalizer(kind="fixed", transformation="log", missing=CenterScale(4.1, 1e-6))
        scaled = normalize(spec, torch.tensor([[60.0]]), lengths=torch.tensor([1]), servers=["a"])
        assert scaled.values.item() == np.float32((np.log(60.0) - 4.1) / 1e-6)
