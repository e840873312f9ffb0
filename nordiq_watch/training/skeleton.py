"""The library's TimeSeriesDataSet, for what it defines: the order of inputs and targets, label codes, scalers.

Training needs it to build the network and to export it, and cuts its windows without it (`batches`): so it holds one
window. With all rows in it, it is the reference that the batches are tested against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pytorch_forecasting import EncoderNormalizer, MultiNormalizer, NaNLabelEncoder, TimeSeriesDataSet
from sklearn.preprocessing import StandardScaler

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS
from nordiq_watch.network.calendar import useful_inputs
from nordiq_watch.network.derived_inputs import lag_inputs, summary_inputs
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.spec import FleetCalendar, ModelSpec, RealScaler
from nordiq_watch.training.dataset import FleetData, Series
from nordiq_watch.training.derived_windows import LagChoice
from nordiq_watch.training.frames import SERIES_COLUMN, TIME_COLUMN, Frames
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.scales import level_scaler, spread_scaler

_UNKNOWN_LABEL = "nan"  # what pytorch-forecasting calls class 0: everything that is not in the list


def min_encoder_length(config: TrainingSettings) -> int:
    """The shortest usable history: half of the encoder, but at least two slots, so that there is a deviation."""
    return max(2, config.max_encoder_length // 2)


def fleet_calendar(config: TrainingSettings) -> FleetCalendar:
    """`training.calendar` as it stands in config.json: each holiday once, in order."""
    return FleetCalendar(zone=config.calendar.zone, holidays=tuple(sorted(set(config.calendar.holidays))))


def build_skeleton(
    data: FleetData,
    training: Sequence[Series],
    *,
    config: TrainingSettings,
    fill_values: DoubleArray,
    per_server: bool,
    previous: ModelSpec | None,
    lags: LagChoice,
) -> TimeSeriesDataSet:
    """The dataset of the first window of `training`, with the labels and scalers of all of it.

    fill_values (metrics,): for metrics that a series lacks. With `previous`, its labels (new ones are appended) and its
    scalers are kept.
    """
    first = training[0]
    end_slot = first.first_slot + min_encoder_length(config) + config.max_prediction_length
    derived = [*summary_inputs(data.metrics), *lag_inputs(data.metrics, lags.decoder)]
    frames = Frames(data, fill_values, per_server=per_server, calendar=fleet_calendar(config), derived=derived)
    encoders = _encoders(data, training, per_server, previous)
    scalers = _scalers(data.metrics, [series.values for series in training], config, previous)
    with quiet_libraries():
        return TimeSeriesDataSet(
            frames.build([first.between(first.first_slot, end_slot)]),
            categorical_encoders=encoders,
            scalers=scalers | dict.fromkeys(derived),
            **_layout(data, config, per_server, lags),
        )


def _layout(data: FleetData, config: TrainingSettings, per_server: bool, lags: LagChoice) -> dict[str, Any]:
    """Declares inputs, targets and window lengths.

    Targets are centred on each encoder's last value: of the usual centres, only this one makes a network better than
    last value on a metric that is nearly a random walk, such as memory.
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
        "static_reals": summary_inputs(targets),
        "time_varying_known_reals": [*useful_inputs(fleet_calendar(config)), *lag_inputs(targets, lags.decoder)],
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
    """Class 0 is the unknown label, followed by the labels already known, in their order, and the new ones, sorted."""
    labels = [_UNKNOWN_LABEL, *known, *sorted(found - {_UNKNOWN_LABEL, *known})]
    encoder = NaNLabelEncoder(add_nan=True)
    encoder.classes_ = {label: code for code, label in enumerate(labels)}
    encoder.classes_vector_ = np.array(labels)
    return encoder


def _scalers(
    metrics: Sequence[str], values: Sequence[FloatArray], config: TrainingSettings, previous: ModelSpec | None
) -> dict[str, StandardScaler | None]:
    """Calendar inputs need no scaling. The library would fit the others on constants; these are fitted on windows."""
    scalers: dict[str, StandardScaler | None] = dict.fromkeys(useful_inputs(fleet_calendar(config)))
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
