"""Networks without training: specs, real TFT weights and windows, small and quick to make. No pandas, no lightning.

spec = network_spec()                       two targets, calendar, unknown servers allowed
tensors = random_weights(spec, seed=1)      weights that really are this network's
weights_file(tensors)                       the bytes of a model.safetensors
Predictor(spec, raw_tensors(tensors), device="cpu").predict(snapshot_of(values))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import safetensors.torch
import torch

from nordiq_watch.live.servable import Servable
from nordiq_watch.metrics import DEFAULT_PROFILE
from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.records.models import ModelIdentity, RawTensor, Version
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import (
    FORMAT_VERSION,
    MODEL_TYPE,
    CategoricalEncoder,
    ModelSpec,
    NetworkSpec,
    RealScaler,
    TargetNormalizer,
)

torch.set_num_threads(1)  # in such small networks threads only wait for each other

INTERVAL_SECONDS = 300
A_MONDAY = 5_681_664  # slot of 2024-01-08T00:00:00Z at 300 s


def network_spec(*, targets: Sequence[str] = ("cpu_user_pct", "mem_used_pct"), **changes: Any) -> ModelSpec:
    """A spec such as the trainer writes: encoder of 12, horizon of 4, p10, p50, p90, profile and status as inputs.

    changes: fields of ModelSpec to replace.
    """
    static_reals = ("encoder_length", *(f"{target}_{part}" for target in targets for part in ("center", "scale")))
    known = (*CALENDAR, "relative_time_idx")
    quantiles = (0.1, 0.5, 0.9)
    spec = ModelSpec(
        format_version=FORMAT_VERSION,
        model_type=MODEL_TYPE,
        framework={"torch": torch.__version__},
        created_at="2025-01-30T14:30:00Z",
        interval_seconds=INTERVAL_SECONDS,
        max_encoder_length=12,
        min_encoder_length=6,
        max_prediction_length=4,
        quantiles=quantiles,
        metrics=tuple(targets),
        targets=tuple(targets),
        network=NetworkSpec(
            hidden_size=8,
            lstm_layers=1,
            attention_head_size=2,
            hidden_continuous_size=4,
            output_size=(len(quantiles),) * len(targets),
            embedding_sizes={"profile": (3, 2), "status": (4, 3)},
            static_categoricals=("profile",),
            static_reals=static_reals,
            time_varying_categoricals_encoder=("status",),
            time_varying_reals_encoder=(*known, *targets),
            time_varying_reals_decoder=known,
            x_reals=(*static_reals, *known, *targets),
            x_categoricals=("profile", "status"),
        ),
        categorical_encoders={
            "profile": CategoricalEncoder(classes=("nan", "Database", DEFAULT_PROFILE), unknown_code=0),
            "status": CategoricalEncoder(classes=("nan", "healthy", "idle", "offline"), unknown_code=0),
        },
        real_scalers={f"{target}_center": RealScaler(center=40.0, scale=20.0) for target in targets},
        target_normalizers={
            target: TargetNormalizer(kind="encoder", transformation="relu", center_length=1, scale_length=12)
            for target in targets
        },
    )
    return msgspec.structs.replace(spec, **changes)


def with_network(spec: ModelSpec, **changes: Any) -> ModelSpec:
    """The spec with other hyperparameters."""
    return msgspec.structs.replace(spec, network=msgspec.structs.replace(spec.network, **changes))


def random_weights(spec: ModelSpec, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of this network under all their names, drawn so that every part of it matters to the output."""
    torch.manual_seed(seed)
    network = TemporalFusionTransformer(spec.network)
    shake(network)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def shake(network: torch.nn.Module, *, deviation: float = 0.05) -> None:
    """Adds noise to every parameter: fresh biases are zero and fresh norms are one, which would hide a mistake."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=deviation)


def weights_file(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The tensors as a safetensors file."""
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})


def raw_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, RawTensor]:
    """The tensors as the daemon has them after reading their file."""
    return parse_weights(weights_file(tensors))


def parse_weights(content: bytes) -> dict[str, RawTensor]:
    """What reading a safetensors file gives. (By the safetensors package, not by the reader of `artifact`.)"""
    return {
        name: RawTensor(entry["dtype"], tuple(entry["shape"]), memoryview(bytearray(entry["data"])))
        for name, entry in safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    }


def snapshot_of(
    values: Any,
    *,
    servers: Sequence[str] | None = None,
    profiles: Sequence[str] | None = None,
    metrics: Sequence[str] = ("cpu_user_pct", "mem_used_pct"),
    statuses: Any = None,
    last_slot: int = A_MONDAY,
    interval_seconds: int = INTERVAL_SECONDS,
) -> WindowSnapshot:
    """A window with these values (servers, slots, metrics); what is not given is unknown."""
    values = np.asarray(values, dtype=np.float32)
    count, slots = values.shape[:2]
    return WindowSnapshot(
        servers=tuple(servers or (f"ppdb{number:03d}" for number in range(count))),
        profiles=tuple(profiles or [DEFAULT_PROFILE] * count),
        metrics=tuple(metrics),
        interval_seconds=interval_seconds,
        last_slot=last_slot,
        values=values,
        statuses=np.zeros((count, slots), np.uint8) if statuses is None else np.asarray(statuses, dtype=np.uint8),
    )


def busy_values(servers: int, slots: int, metrics: int = 2, *, seed: int = 0) -> np.ndarray:
    """(servers, slots, metrics) float32: percentages with a daily rhythm, noise, and a level of each server's own."""
    chance = np.random.default_rng(seed)
    level = chance.uniform(15, 60, size=(servers, 1, metrics))
    rhythm = 8 * np.sin(np.arange(slots) * 2 * np.pi / 288 + chance.uniform(0, 6, size=(servers, 1)))[..., None]
    walk = chance.normal(size=(servers, slots, metrics)).cumsum(axis=1)
    return (level + rhythm + walk).clip(0.5, 99.5).astype(np.float32)


def servable_of(spec: ModelSpec | None = None, *, seed: int = 0, generation: int = 1) -> Servable:
    """A whole model with random weights, as the loader makes it."""
    spec = spec or network_spec()
    name = f"tft_model_20250130_14300{generation}"
    return Servable(
        version=Version(name, Path("models") / name, None, "fingerprint", 1, 0.0),
        identity=ModelIdentity(name, generation, f"{seed:064x}"),
        content_sha256="cd" * 32,
        spec=spec,
        known_servers=frozenset(),
        predictor=Predictor(spec, raw_tensors(random_weights(spec, seed=seed)), device="cpu"),
    )
