"""Real model directories without training: a small TFT whose answer is known.

Its output layer ignores the rest of the network: p10, p50, p90 are the server's last value plus -band, `shift`, +band
(in units of the encoder's standard deviation). So every version can be told by the numbers that it answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import safetensors.torch
import torch
from torch.nn import Linear

from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.network.terms.linear import linear_shapes
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.spec import Extras, ModelSpec, NetworkSpec, RealScaler, TargetNormalizer, TrainingInfo
from support.specs import mapping_of

METRICS = ("cpu_user_pct", "mem_used_pct")
ENCODER = 12
HORIZON = 4
QUANTILES = (0.1, 0.5, 0.9)


def tiny_spec(**changes: Any) -> ModelSpec:
    """Reads and forecasts cpu and memory, 12 slots of 300 s in, 4 out."""
    targets: tuple[str, ...] = changes.get("targets", METRICS)
    reals = (*targets, "relative_time_idx")
    spec = ModelSpec(
        format_version=1,
        model_type="TemporalFusionTransformer",
        framework={"pytorch-forecasting": "1.8.0"},
        created_at="2025-01-30T14:30:00Z",
        interval_seconds=300,
        max_encoder_length=ENCODER,
        min_encoder_length=ENCODER // 2,
        max_prediction_length=HORIZON,
        quantiles=QUANTILES,
        metrics=targets,
        targets=targets,
        network=NetworkSpec(
            hidden_size=8,
            lstm_layers=1,
            attention_head_size=2,
            hidden_continuous_size=4,
            output_size=(3,) * len(targets),
            x_reals=reals,
            time_varying_reals_encoder=reals,
            time_varying_reals_decoder=("relative_time_idx",),
        ),
        real_scalers={"relative_time_idx": RealScaler()},
        target_normalizers={
            target: TargetNormalizer(kind="encoder", center_length=1, scale_length=ENCODER) for target in targets
        },
        fill_values=dict.fromkeys(targets, 30.0),
    )
    return msgspec.structs.replace(spec, **changes)


def larger_spec() -> ModelSpec:
    """About 3 MB of weights: if one version in ten stayed behind, memory would grow by half."""
    spec = tiny_spec()
    network = msgspec.structs.replace(spec.network, hidden_size=96, hidden_continuous_size=48)
    return msgspec.structs.replace(spec, network=network)


def tiny_weights(
    spec: ModelSpec, *, seed: int = 0, shift: float = 0.0, band: float = 1.0, bias: Sequence[float] = ()
) -> bytes:
    """A safetensors file for `spec`; `shift` and `band`, or `bias`, decide what the network answers."""
    torch.manual_seed(seed)
    network = TemporalFusionTransformer(spec.network)
    several = len(spec.targets) > 1
    layers = cast(Sequence[Linear], network.output_layer if several else [network.output_layer])
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(bias or [shift - band, shift, shift + band]))
    return safetensors.torch.save({name: tensor.clone() for name, tensor in network.state_dict().items()})


def drop_model(models_dir: Path, name: str, *, spec: ModelSpec | None = None, hashes: bool = True, **what: Any) -> Path:
    """Drops a complete version as the trainer does. Without `hashes`, it has no training_info.json."""
    spec = spec or tiny_spec()
    directory = write_model_directory(
        models_dir,
        name=name,
        weights=tiny_weights(spec, **what),
        spec=spec,
        mapping=mapping_of("ppdb001", "ppml001", version=name),
        info=TrainingInfo(epochs=3, training_time=12.5, servers_trained=2),
    )
    if not hashes:
        (directory / "training_info.json").unlink()
    return directory


def drop_model_with_extras(
    models_dir: Path, name: str, *, seed: int = 0, shift: float = 0.0, hashes: bool = True, **tensors: torch.Tensor
) -> Path:
    """As `drop_model`, in format 2. `shift` is that of its linear member, which alone is served: the network has none.

    tensors: those of the extras that are to be others.
    """
    spec = tiny_spec(format_version=2, extras=Extras(members=("linear",), slots=ENCODER, calibrated=True))
    shape = (len(METRICS), HORIZON, len(QUANTILES))
    extras = {
        "blend": torch.stack([torch.zeros(shape[:2]), torch.ones(shape[:2])]),
        "calibration": torch.ones(shape),
        "linear.weight": torch.zeros(linear_shapes(spec)["linear.weight"]),
        "linear.bias": torch.tensor([shift - 1, shift, shift + 1]).expand(shape).contiguous(),
        "linear.floor": torch.full(shape[:1], 1e-3),
    }
    directory = write_model_directory(
        models_dir,
        name=name,
        weights=tiny_weights(spec, seed=seed),
        spec=spec,
        mapping=mapping_of("ppdb001", "ppml001", version=name),
        info=TrainingInfo(epochs=3, training_time=12.5, servers_trained=2),
        extras=safetensors.torch.save(extras | tensors),
    )
    if not hashes:
        (directory / "training_info.json").unlink()
    return directory
