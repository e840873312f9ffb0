"""Exports a trained pytorch-forecasting network to the content of a model directory: plain JSON and plain tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, get_args

import numpy as np
import torch
from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
from pytorch_forecasting.data.encoders import EncoderNormalizer, GroupNormalizer, NaNLabelEncoder, TorchNormalizer
from pytorch_forecasting.metrics import MultiLoss, QuantileLoss
from sklearn.preprocessing import RobustScaler, StandardScaler

from nordiq_watch.errors import DatasetError
from nordiq_watch.network import tft
from nordiq_watch.network.checks import ENCODER_LENGTH, RELATIVE_TIME, UnusableSpec, check_spec
from nordiq_watch.network.weights import WeightsMismatch, check_shapes
from nordiq_watch.spec import (
    FORMAT_VERSION,
    MODEL_TYPE,
    CategoricalEncoder,
    CenterScale,
    FleetCalendar,
    ModelSpec,
    NetworkSpec,
    RealScaler,
    TargetNormalizer,
    Transformation,
)

GROUP = "server_name"
_UTC = FleetCalendar()
_FRAMEWORK = ("torch", "pytorch-forecasting", "lightning")
_NEVER_SCALED = (ENCODER_LENGTH, RELATIVE_TIME)  # the dataset writes them into each sample after scaling


def export_model(
    model: TemporalFusionTransformer,
    dataset: TimeSeriesDataSet,
    *,
    interval_seconds: int,
    metrics: Sequence[str],
    fill_values: Mapping[str, float],
    created_at: str,
    training_config: Mapping[str, Any],
    calendar: FleetCalendar = _UTC,
) -> tuple[ModelSpec, dict[str, torch.Tensor]]:
    """The model's config.json and its weights, float32 on the CPU, one copy per name of the `state_dict`.

    dataset: the training dataset. metrics: those the model reads, in any order. calendar: that of the dataset's inputs.
    Raises DatasetError for a model or dataset with features that config.json cannot express or the daemon cannot feed.
    """
    _refuse(dataset, model)
    targets = tuple(dataset.target_names)
    spec = ModelSpec(
        format_version=FORMAT_VERSION,
        model_type=MODEL_TYPE,
        framework={name: version(name) for name in _FRAMEWORK},
        created_at=created_at,
        interval_seconds=interval_seconds,
        max_encoder_length=dataset.max_encoder_length,
        min_encoder_length=dataset.min_encoder_length,
        max_prediction_length=dataset.max_prediction_length,
        quantiles=_quantiles(model),
        metrics=(*targets, *(metric for metric in metrics if metric not in targets)),
        targets=targets,
        network=network_spec(model),
        categorical_encoders=_categorical_encoders(dataset),
        real_scalers=_real_scalers(dataset),
        target_normalizers=_target_normalizers(dataset),
        fill_values=dict(fill_values),
        calendar=calendar,
        training_config=dict(training_config),
    )
    return spec, _tensors(model, spec)


def _tensors(model: TemporalFusionTransformer, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """Copies of the weights. Raises DatasetError unless the daemon can build and feed a network of `spec` with them."""
    copies = {name: tensor.detach().float().cpu().clone() for name, tensor in model.state_dict().items()}
    _check(spec, copies)
    return {name: tensor.contiguous() for name, tensor in copies.items()}


def _categorical_encoders(dataset: TimeSeriesDataSet) -> dict[str, CategoricalEncoder]:
    return {name: _categorical_encoder(name, dataset.get_transformer(name)) for name in dataset.flat_categoricals}


def _target_normalizers(dataset: TimeSeriesDataSet) -> dict[str, TargetNormalizer]:
    return {
        target: _target_normalizer(target, normalizer, dataset)
        for target, normalizer in zip(dataset.target_names, dataset.target_normalizers, strict=True)
    }


def _refuse(dataset: TimeSeriesDataSet, model: TemporalFusionTransformer) -> None:
    """Raises for features of pytorch-forecasting that config.json cannot express."""
    unsupported = {
        "lags": bool(dataset._lags),
        "variable_groups": bool(dataset._variable_groups),
        "several group_ids": len(dataset.group_ids) != 1,
        "categorical targets": any(isinstance(n, NaNLabelEncoder) for n in dataset.target_normalizers),
        "monotone_constraints": bool(model.hparams.monotone_constraints),
    }
    found = [feature for feature, used in unsupported.items() if used]
    if found:
        raise DatasetError(f"a model with {', '.join(found)} cannot be exported. Train without.")


def _quantiles(model: TemporalFusionTransformer) -> tuple[float, ...]:
    losses = list(model.loss.metrics) if isinstance(model.loss, MultiLoss) else [model.loss]
    if not all(isinstance(loss, QuantileLoss) for loss in losses):
        raise DatasetError(f"a model trained with {model.loss} cannot be exported. Train with QuantileLoss.")
    quantiles = {tuple(float(quantile) for quantile in loss.quantiles) for loss in losses}
    if len(quantiles) > 1:
        raise DatasetError(f"the targets have different quantiles, {sorted(quantiles)}. Train with the same for all.")
    return quantiles.pop()


def network_spec(model: TemporalFusionTransformer) -> NetworkSpec:
    """The sizes and inputs of a network of the library."""
    hparams = model.hparams
    output_size = hparams.output_size
    return NetworkSpec(
        hidden_size=hparams.hidden_size,
        lstm_layers=hparams.lstm_layers,
        attention_head_size=hparams.attention_head_size,
        hidden_continuous_size=hparams.hidden_continuous_size,
        hidden_continuous_sizes=dict(hparams.hidden_continuous_sizes),
        output_size=tuple(output_size) if isinstance(output_size, Sequence) else (output_size,),
        embedding_sizes={
            name: (embedding.num_embeddings, embedding.embedding_dim)
            for name, embedding in model.input_embeddings.items()
        },
        embedding_paddings=tuple(hparams.embedding_paddings),
        static_categoricals=tuple(hparams.static_categoricals),
        static_reals=tuple(hparams.static_reals),
        time_varying_categoricals_encoder=tuple(hparams.time_varying_categoricals_encoder),
        time_varying_categoricals_decoder=tuple(hparams.time_varying_categoricals_decoder),
        time_varying_reals_encoder=tuple(hparams.time_varying_reals_encoder),
        time_varying_reals_decoder=tuple(hparams.time_varying_reals_decoder),
        x_reals=tuple(hparams.x_reals),
        x_categoricals=tuple(hparams.x_categoricals),
        share_single_variable_networks=hparams.share_single_variable_networks,
        causal_attention=hparams.causal_attention,
    )


def _categorical_encoder(name: str, encoder: NaNLabelEncoder) -> CategoricalEncoder:
    """Codes must be 0, 1, 2 … in the order of the classes, as assigned by NaNLabelEncoder."""
    if list(encoder.classes_.values()) != list(range(len(encoder.classes_))):
        raise DatasetError(f"the codes of {name} are not 0, 1, 2 …, but {dict(encoder.classes_)}")
    return CategoricalEncoder(
        classes=tuple(str(label) for label in encoder.classes_), unknown_code=0 if encoder.add_nan else None
    )


def _real_scalers(dataset: TimeSeriesDataSet) -> dict[str, RealScaler]:
    names = [name for name in dataset.reals if name not in (*dataset.target_names, *_NEVER_SCALED)]
    scalers = {name: dataset.get_transformer(name) for name in names}
    return {name: _real_scaler(name, scaler) for name, scaler in scalers.items() if scaler is not None}


def _real_scaler(name: str, scaler: Any) -> RealScaler:
    if isinstance(scaler, StandardScaler):
        center, scale = scaler.mean_ if scaler.with_mean else None, scaler.scale_
    elif isinstance(scaler, RobustScaler):
        center, scale = scaler.center_, scaler.scale_
    else:
        raise DatasetError(f"the scaler of {name}, {scaler}, cannot be exported. Use StandardScaler or RobustScaler.")
    return RealScaler(
        center=0.0 if center is None else float(center[0]), scale=1.0 if scale is None else float(scale[0])
    )


def _target_normalizer(target: str, normalizer: TorchNormalizer, dataset: TimeSeriesDataSet) -> TargetNormalizer:
    transformation = normalizer.transformation
    if transformation is not None and transformation not in get_args(Transformation):
        raise DatasetError(f"the transformation of {target}, {transformation!r}, cannot be exported. Use one by name.")
    if normalizer.method_kwargs:
        raise DatasetError(f"the normalizer of {target} has method_kwargs, which cannot be exported. Use the defaults.")
    if isinstance(normalizer, EncoderNormalizer):
        return _encoder_normalizer(normalizer)
    if isinstance(normalizer, GroupNormalizer) and normalizer._groups:
        return _group_normalizer(target, normalizer, dataset)
    center, scale = (float(number) for number in np.asarray(normalizer.get_parameters([])))
    return TargetNormalizer(kind="fixed", transformation=transformation, missing=CenterScale(center, scale))


def _encoder_normalizer(normalizer: EncoderNormalizer) -> TargetNormalizer:
    lengths = normalizer.max_length
    center_length, scale_length = lengths if isinstance(lengths, Sequence) else (lengths, lengths)
    return TargetNormalizer(
        kind="encoder",
        transformation=normalizer.transformation,
        method=normalizer.method,
        center=normalizer.center,
        center_length=center_length,
        scale_length=scale_length,
    )


def _group_normalizer(target: str, normalizer: GroupNormalizer, dataset: TimeSeriesDataSet) -> TargetNormalizer:
    """Center and scale per server, by name.

    The dataset scales a server's input with the row of its code as a variable, and unscales its output with the row of
    its code as a group. The two codes differ if the variable's encoder has a class for unknown labels: both tables are
    then exported, because the network was trained with both.
    """
    if dataset.group_ids != [GROUP] or normalizer._groups != [GROUP]:
        raise DatasetError(f"the normalizer of {target} groups by {normalizer._groups}. Group by server_name alone.")
    variable_codes = _known_codes(dataset.get_transformer(GROUP))
    group_codes = _known_codes(dataset.get_transformer(GROUP, group_id=True))
    look_up = _lookup(normalizer)
    groups = {server: look_up(code) for server, code in variable_codes.items()}
    output_groups = {server: look_up(group_codes[server]) for server in groups}
    return TargetNormalizer(
        kind="group",
        transformation=normalizer.transformation,
        groups=groups,
        output_groups=None if output_groups == groups else output_groups,
        missing=look_up(None),
    )


def _known_codes(encoder: NaNLabelEncoder) -> dict[str, int]:
    codes = {str(label): int(code) for label, code in encoder.classes_.items()}
    return {label: code for label, code in codes.items() if code or not encoder.add_nan}


def _lookup(normalizer: GroupNormalizer) -> Callable[[int | None], CenterScale]:
    """Code → center and scale; None, or a code without a row of its own, maps to those of unknown servers."""
    by_group = normalizer.scale_by_group
    norm = normalizer.norm_[GROUP] if by_group else normalizer.norm_
    missing = normalizer.missing_[GROUP] if by_group else normalizer.missing_

    def look_up(code: int | None) -> CenterScale:
        row = norm.loc[code] if code is not None and code in norm.index else missing
        return CenterScale(float(row["center"]), float(row["scale"]))

    return look_up


def _check(spec: ModelSpec, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises unless the daemon can build and feed what is about to be written."""
    try:
        check_spec(spec)
        with torch.device("meta"):
            network = tft.TemporalFusionTransformer(spec.network)
        check_shapes(network, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    except (UnusableSpec, WeightsMismatch) as error:
        raise DatasetError(f"the model cannot be exported: {error}") from None
