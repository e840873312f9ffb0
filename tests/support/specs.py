"""A small, valid ModelSpec, and a model directory that is whole but whose weights belong to no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy

from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.spec import Extras, ModelSpec, NetworkSpec, ServerMapping, TargetNormalizer, TrainingInfo


def small_spec(**changes: Any) -> ModelSpec:
    spec = ModelSpec(
        format_version=1,
        model_type="TemporalFusionTransformer",
        framework={"pytorch-forecasting": "1.8.0"},
        created_at="2025-01-30T14:30:00Z",
        interval_seconds=300,
        max_encoder_length=8,
        max_prediction_length=4,
        quantiles=(0.1, 0.5, 0.9),
        metrics=("cpu_user_pct",),
        targets=("cpu_user_pct",),
        network=NetworkSpec(
            hidden_size=8,
            lstm_layers=1,
            attention_head_size=2,
            hidden_continuous_size=4,
            output_size=(3,),
            x_reals=("cpu_user_pct",),
            time_varying_reals_encoder=("cpu_user_pct",),
        ),
        target_normalizers={"cpu_user_pct": TargetNormalizer(kind="encoder")},
    )
    return msgspec.structs.replace(spec, **changes)


def weights_bytes(seed: int = 0) -> bytes:
    chance = np.random.default_rng(seed)
    return safetensors.numpy.save(
        {"layer.weight": chance.normal(size=(64, 32)).astype(np.float32), "layer.bias": np.zeros(64, np.float32)}
    )


def mapping_of(*servers: str, version: str = "tft_model_20250130_143000") -> ServerMapping:
    return ServerMapping(
        name_to_id={name: number for number, name in enumerate(servers)},
        id_to_name={str(number): name for number, name in enumerate(servers)},
        version=version,
        total_servers=len(servers),
    )


def write_whole_directory(models_dir: Path, name: str = "tft_model_20250130_143000", **changes: Any) -> Path:
    return write_model_directory(
        models_dir,
        name=name,
        weights=changes.get("weights", weights_bytes()),
        spec=changes.get("spec", small_spec()),
        mapping=mapping_of("ppdb001", "ppml001", version=name),
        info=TrainingInfo(epochs=3, training_time=12.5, servers_trained=2),
        extras=changes.get("extras"),
    )


def write_whole_directory_with_extras(models_dir: Path, **changes: Any) -> Path:
    """As `write_whole_directory`, in format 2; the tensors in its extras fit nothing either."""
    spec = small_spec(format_version=2, extras=Extras(members=("linear",), slots=8))
    return write_whole_directory(models_dir, spec=spec, extras=changes.get("extras", weights_bytes(seed=7)))
