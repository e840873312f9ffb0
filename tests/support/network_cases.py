"""The cases in which the network is compared with pytorch-forecasting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from pytorch_forecasting.data.encoders import EncoderNormalizer, GroupNormalizer, MultiNormalizer, TorchNormalizer
from sklearn.preprocessing import RobustScaler

from nordiq_watch.network.forward import Way
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.export import export_model
from support.library import ENCODER, METRICS, Fleet, Reference, live_fleet, open_encoders, reference
from support.networks import INTERVAL_SECONDS, parse_weights, weights_file

UNREPEATABLE = "ppnew1"
"""With the GroupNormalizer and open encoders the library scales the first unknown server's output as the last known
server's, by mistake; which server that is depends on who else is in the data. Here it is as any unknown one."""


def last_value(length: int = ENCODER) -> EncoderNormalizer:
    """What our own trainer uses."""
    return EncoderNormalizer(method="standard", max_length=[1, length], transformation="relu")


@dataclass
class Case:
    """One network of the library, exported to the bytes of a model directory, and a window to forecast from."""

    normalizer: Callable[[], Any]
    targets: tuple[str, ...] = ("cpu_user_pct",)
    dataset: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    unknown: bool = True
    short: bool = True
    static_scales: bool = False
    unrepeatable: tuple[str, ...] = ()

    @cached_property
    def reference(self) -> Reference:
        return reference(targets=self.targets, normalizer=self.normalizer(), dataset=self.dataset, network=self.network)

    @cached_property
    def fleet(self) -> Fleet:
        return live_fleet(unknown=self.unknown, short=self.short)

    @cached_property
    def library(self) -> Mapping[str, np.ndarray]:
        """What the library forecasts."""
        return self.reference.predict(self.fleet)

    @cached_property
    def exact(self) -> Mapping[str, np.ndarray]:
        """What it forecasts in float64."""
        return self.reference.predict_exactly(self.fleet)

    @cached_property
    def library_inputs(self) -> tuple[dict[str, Any], list[str]]:
        """What the library's dataset makes of the window, and the server of each row."""
        return self.reference.inputs(self.fleet)

    @cached_property
    def files(self) -> tuple[bytes, bytes]:
        """config.json and model.safetensors."""
        spec, tensors = export_model(
            self.reference.model,
            self.reference.dataset,
            interval_seconds=INTERVAL_SECONDS,
            metrics=[metric for metric in METRICS if metric in self.reference.dataset.reals],
            fill_values={},
            created_at="2025-01-30T14:30:00Z",
            training_config={},
        )
        return msgspec.json.encode(spec), weights_file(tensors)

    @cached_property
    def spec(self) -> ModelSpec:
        return msgspec.json.decode(self.files[0], type=ModelSpec)

    @cached_property
    def predictor(self) -> Predictor:
        return self.make_predictor("native")

    def make_predictor(self, prefer: Way) -> Predictor:
        return Predictor(self.spec, parse_weights(self.files[1]), device="cpu", prefer=prefer)


CASES = {
    "last value": Case(last_value),
    "last value, three targets": Case(lambda: MultiNormalizer([last_value() for _ in METRICS]), targets=METRICS),
    "encoder's mean": Case(lambda: EncoderNormalizer(transformation="softplus")),
    "encoder's end, robust": Case(lambda: EncoderNormalizer(method="robust", max_length=9)),
    "encoder, scale alone": Case(lambda: EncoderNormalizer(center=False, transformation="log1p")),
    "identity": Case(lambda: EncoderNormalizer(method="identity")),
    "fixed": Case(lambda: TorchNormalizer(transformation="softplus"), static_scales=True),
    "one group for all": Case(lambda: GroupNormalizer(transformation="log"), static_scales=True),
    "a scale for each server": Case(
        lambda: GroupNormalizer(groups=["server_name"], transformation="softplus"),
        static_scales=True,
        unrepeatable=(UNREPEATABLE,),
    ),
    "a scale for each server, all known": Case(
        lambda: GroupNormalizer(groups=["server_name"], scale_by_group=True, center=False),
        dataset={"categorical_encoders": open_encoders("profile", "status")},
        unknown=False,
        static_scales=True,
    ),
    "each target in its own way": Case(
        lambda: MultiNormalizer(
            [last_value(), GroupNormalizer(groups=["server_name"], transformation="count"), TorchNormalizer()]
        ),
        targets=METRICS,
        unrepeatable=(UNREPEATABLE,),
    ),
    "more metrics than targets": Case(
        last_value,
        dataset={"time_varying_unknown_reals": list(METRICS), "scalers": {"mem_used_pct": RobustScaler()}},
    ),
    "whole encoders": Case(last_value, short=False),
    "three LSTM layers, heads that do not divide": Case(
        last_value, network={"lstm_layers": 3, "attention_head_size": 3, "hidden_continuous_sizes": {"hour_sin": 5}}
    ),
    "shared networks, looking ahead": Case(
        last_value, network={"share_single_variable_networks": True, "causal_attention": False}
    ),
    "nothing static, nothing known ahead": Case(
        last_value,
        dataset={
            "static_categoricals": [],
            "time_varying_known_reals": [],
            "time_varying_unknown_categoricals": [],
            "add_relative_time_idx": False,
            "add_target_scales": False,
            "add_encoder_length": False,
        },
    ),
}
