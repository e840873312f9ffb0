"""The fleet as pytorch-forecasting takes it: one TimeSeriesDataSet to train on, one of later windows to validate on.

The split is by time: nothing that is trained on is younger than the oldest value that is forecast in validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_forecasting import EncoderNormalizer, MultiNormalizer, NaNLabelEncoder, TimeSeriesDataSet
from sklearn.preprocessing import StandardScaler
from torch import nn

from nordiq_watch.config import Training
from nordiq_watch.errors import ConfigError, DatasetError
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS
from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.spec import ModelSpec, RealScaler
from nordiq_watch.training.dataset import FleetData, Series
from nordiq_watch.training.frames import SERIES_COLUMN, TIME_COLUMN, Frames
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.scales import level_scaler, medians, spread_scaler, typical_changes

VALIDATION_SHARE = 0.2

_RESERVED = {SERIES_COLUMN, TIME_COLUMN, *CALENDAR, "timestamp", "server_name", "profile", "status"}
_RESERVED |= {"relative_time_idx", "encoder_length"}  # columns that the library adds
_UNKNOWN_LABEL = "nan"  # what pytorch-forecasting calls class 0: everything that is not in the list


@dataclass(frozen=True, slots=True)
class Split:
    """Both halves, and what was learnt from the first one.

    origin_slot: slot 0 of the datasets' time. cutoff_slot: the first one that is forecast in validation.
    validation_series: the whole series behind the validation windows; the datasets' group labels number them.
    servers: those that are trained on.
    fill_values: what a metric takes that a server does not measure.
    changes: how much each target usually changes over the horizon, in its unit.
    """

    training: TimeSeriesDataSet
    validation: TimeSeriesDataSet
    validation_series: tuple[Series, ...]
    origin_slot: int
    cutoff_slot: int
    servers: tuple[str, ...]
    fill_values: dict[str, float]
    changes: tuple[float, ...]


def min_encoder_length(config: Training) -> int:
    """The shortest history that is forecast from: half of the encoder, and two slots to have a deviation."""
    return max(2, config.max_encoder_length // 2)


def split_by_time(
    data: FleetData, *, config: Training, per_server: bool = False, previous: ModelSpec | None = None
) -> Split:
    """Training windows end before the cutoff, validation windows are forecast from it on.

    With `previous`, its labels (new ones behind them) and its scalers are kept, so that its weights go on meaning the
    same. Raises DatasetError if either half would have no window, ConfigError for a metric's name that cannot be used.
    """
    _check_names(data.metrics)
    cutoff = _cutoff(data, config)
    training, validation = _training_series(data, config, cutoff), _validation_series(data, config, cutoff)
    values = [series.values for series in training]
    fill_values = medians(values)
    frames = Frames(data, fill_values, per_server=per_server)
    with quiet_libraries():
        training_set = TimeSeriesDataSet(
            frames.build(training),
            categorical_encoders=_encoders(data, training, per_server, previous),
            scalers=_scalers(data.metrics, values, config, previous),
            **_layout(data, config, per_server),
        )
        recent = [series.between(cutoff - config.max_encoder_length, series.end_slot) for series in validation]
        validation_set = TimeSeriesDataSet.from_dataset(
            training_set, frames.build(recent), min_prediction_idx=cutoff - frames.origin
        )
    return Split(
        training=training_set,
        validation=validation_set,
        validation_series=tuple(validation),
        origin_slot=frames.origin,
        cutoff_slot=cutoff,
        servers=tuple(sorted({series.server for series in training})),
        fill_values=dict(zip(data.metrics, fill_values.tolist(), strict=True)),
        changes=tuple(typical_changes(values, steps=config.max_prediction_length).tolist()),
    )


def _check_names(metrics: Sequence[str]) -> None:
    """The network's parts are attributes of a torch module that bear the metrics' names."""
    taken = _RESERVED | {f"{metric}_{kind}" for metric in metrics for kind in ("center", "scale")}
    for name in metrics:
        if name in taken or hasattr(nn.ModuleDict(), name):
            raise ConfigError(f"metrics: {name!r} is a word that the network uses itself; rename that metric")


def _cutoff(data: FleetData, config: Training) -> int:
    first, end = min(series.first_slot for series in data.series), max(series.end_slot for series in data.series)
    return end - max(ceil((end - first) * VALIDATION_SHARE), config.max_prediction_length)


def _training_series(data: FleetData, config: Training, cutoff: int) -> list[Series]:
    needed = min_encoder_length(config) + config.max_prediction_length
    parts = [series.between(series.first_slot, cutoff) for series in data.series]
    long_enough = [part for part in parts if len(part.values) >= needed]
    if not long_enough:
        raise _too_short(data, config, part="the oldest 80 %", longest=max(len(part.values) for part in parts))
    return long_enough


def _validation_series(data: FleetData, config: Training, cutoff: int) -> list[Series]:
    shortest, horizon = min_encoder_length(config), config.max_prediction_length
    series_list = [
        series for series in data.series if series.end_slot - max(series.first_slot + shortest, cutoff) >= horizon
    ]
    if not series_list:
        longest = max(len(series.between(cutoff - shortest, series.end_slot).values) for series in data.series)
        raise _too_short(data, config, part="the newest 20 % and half an encoder before it", longest=longest)
    return series_list


def _too_short(data: FleetData, config: Training, *, part: str, longest: int) -> DatasetError:
    shortest, horizon = min_encoder_length(config), config.max_prediction_length
    return DatasetError(
        f"{data.directory}: too short: in {part} the longest unbroken series has {longest} slots of "
        f"{data.interval_seconds} s, but a window needs {shortest} (half of the encoder) + {horizon} = "
        f"{shortest + horizon}. Give more data, or lower training.max_encoder_length ({config.max_encoder_length}) or "
        f"training.max_prediction_length ({horizon})."
    )


def _layout(data: FleetData, config: Training, per_server: bool) -> dict[str, Any]:
    """What is an input, what is a target, how long a window is.

    Targets are centred on each encoder's last value: of the usual centres only this one makes a network better than
    the last value itself on a metric that is nearly a random walk, such as memory.
    """
    targets = list(data.metrics)
    normalizers = [
        EncoderNormalizer(
            method="standard", center=True, max_length=[1, config.max_encoder_length], transformation="relu"
        )
        for _ in targets
    ]
    several = len(targets) > 1
    return {
        "time_idx": TIME_COLUMN,
        "group_ids": [SERIES_COLUMN],
        "target": targets if several else targets[0],
        "target_normalizer": MultiNormalizer(normalizers) if several else normalizers[0],
        "max_encoder_length": config.max_encoder_length,
        "min_encoder_length": min_encoder_length(config),
        "max_prediction_length": config.max_prediction_length,
        "static_categoricals": ["profile", "server_name"] if per_server else ["profile"],
        "time_varying_known_reals": list(CALENDAR),
        "time_varying_unknown_reals": targets,
        "time_varying_unknown_categoricals": ["status"] if data.has_status else [],
        "add_relative_time_idx": True,
        "add_target_scales": True,
        "add_encoder_length": True,
    }


def _encoders(
    data: FleetData, training: Sequence[Series], per_server: bool, previous: ModelSpec | None
) -> dict[str, NaNLabelEncoder]:
    labels = {"profile": {series.profile for series in training}}
    if per_server:
        labels["server_name"] = {series.server for series in training}
    if data.has_status:
        labels["status"] = set(STATUSES) - {STATUSES[UNKNOWN_STATUS]}
    known = previous.categorical_encoders if previous else {}
    encoders = {
        name: _label_encoder(known[name].classes[1:] if name in known else (), found) for name, found in labels.items()
    }
    return encoders | {SERIES_COLUMN: NaNLabelEncoder(add_nan=True)}


def _label_encoder(known: Sequence[str], found: set[str]) -> NaNLabelEncoder:
    """Class 0 is the unknown; then the labels already known, in their order; then the new ones, sorted."""
    labels = [_UNKNOWN_LABEL, *known, *sorted(found - {_UNKNOWN_LABEL, *known})]
    encoder = NaNLabelEncoder(add_nan=True)
    encoder.classes_ = {label: code for code, label in enumerate(labels)}
    encoder.classes_vector_ = np.array(labels)
    return encoder


def _scalers(
    metrics: Sequence[str], values: Sequence[NDArray[np.float32]], config: Training, previous: ModelSpec | None
) -> dict[str, StandardScaler | None]:
    """The calendar is in scale as it is. The library would fit the others on constants; these are fitted on windows."""
    scalers: dict[str, StandardScaler | None] = dict.fromkeys(CALENDAR)
    for position, metric in enumerate(metrics):
        fitted = {
            f"{metric}_center": level_scaler(values, position),
            f"{metric}_scale": spread_scaler(values, position, window=config.max_encoder_length),
        }
        known = previous.real_scalers if previous else {}
        scalers |= {name: _standard_scaler(known.get(name, scaler)) for name, scaler in fitted.items()}
    return scalers


def _standard_scaler(scaler: RealScaler) -> StandardScaler:
    fitted = StandardScaler()
    fitted.mean_, fitted.scale_ = np.array([scaler.center]), np.array([scaler.scale])
    fitted.var_, fitted.n_features_in_, fitted.n_samples_seen_ = fitted.scale_**2, 1, 1
    return fitted
