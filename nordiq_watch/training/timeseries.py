"""The fleet's windows: those to train on, and later ones to validate on.

The split is by time: no training value is younger than the oldest value forecast in validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from pytorch_forecasting import TimeSeriesDataSet
from torch import nn

from nordiq_watch.config.training import TrainingSettings
from nordiq_watch.errors import ConfigError, DatasetError
from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.derived_inputs import lag_inputs, summary_inputs
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.dataset import FleetData, Series
from nordiq_watch.training.derived_windows import LagChoice
from nordiq_watch.training.frames import SERIES_COLUMN, TIME_COLUMN
from nordiq_watch.training.library_inputs import Windows
from nordiq_watch.training.scales import medians, typical_changes
from nordiq_watch.training.skeleton import build_skeleton, fleet_calendar, min_encoder_length
from nordiq_watch.training.windows import SeriesWindows

VALIDATION_SHARE = 0.2

_NO_LAGS = LagChoice()

_RESERVED = {SERIES_COLUMN, TIME_COLUMN, *CALENDAR, "timestamp", "server_name", "profile", "status"}
_RESERVED |= {"relative_time_idx", "encoder_length"}  # columns that the library adds


@dataclass(frozen=True, slots=True)
class Split:
    """Both halves, and what was derived from the first one.

    skeleton: the library's dataset of one window, which defines the order of inputs and targets, the codes of labels
    and the scalers. lags: inputs of earlier days that the network reads. origin_slot: slot 0 of the batches' time.
    cutoff_slot: first slot forecast in validation. servers: those in the training half. fill_values: per metric, for
    servers that do not measure it. changes: each target's typical change over the horizon, in its unit.
    """

    skeleton: TimeSeriesDataSet
    lags: LagChoice
    training: Windows
    validation: Windows
    origin_slot: int
    cutoff_slot: int
    servers: tuple[str, ...]
    fill_values: dict[str, float]
    changes: tuple[float, ...]


def split_by_time(
    data: FleetData,
    *,
    config: TrainingSettings,
    per_server: bool = False,
    previous: ModelSpec | None = None,
    lags: LagChoice = _NO_LAGS,
) -> Split:
    """Training windows end before the cutoff; validation windows forecast from it on.

    With `previous`, its labels (new ones are appended) and its scalers are kept, so that its weights keep their
    meaning. Raises DatasetError if either half would have no window, ConfigError for a metric name that cannot be used.
    """
    _check_names(data.metrics)
    cutoff = _cutoff(data, config)
    training, validation = _training_series(data, config, cutoff), _validation_series(data, config, cutoff)
    values = [series.values for series in training]
    fill_values = medians(values)
    origin_slot = min(series.first_slot for series in data.series)
    skeleton = build_skeleton(
        data, training, config=config, fill_values=fill_values, per_server=per_server, previous=previous, lags=lags
    )
    source = partial(SeriesWindows, shortest_past=min_encoder_length(config), horizon=config.max_prediction_length)
    windows = partial(Windows, skeleton=skeleton, fill_values=fill_values, origin_slot=origin_slot, lags=lags)
    windows = partial(windows, interval_seconds=data.interval_seconds, calendar=fleet_calendar(config))
    return Split(
        skeleton=skeleton,
        lags=lags,
        training=windows(source(training)),
        validation=windows(source(validation, first_slot=cutoff)),
        origin_slot=origin_slot,
        cutoff_slot=cutoff,
        servers=tuple(sorted({series.server for series in training})),
        fill_values=dict(zip(data.metrics, fill_values.tolist(), strict=True)),
        changes=tuple(typical_changes(values, steps=config.max_prediction_length).tolist()),
    )


def _check_names(metrics: Sequence[str]) -> None:
    """Metric names become attribute names of a torch module, which excludes some of them."""
    taken = _RESERVED | {*lag_inputs(metrics), *summary_inputs(metrics)}
    taken |= {f"{metric}_{kind}" for metric in metrics for kind in ("center", "scale")}
    for name in metrics:
        if name in taken or hasattr(nn.ModuleDict(), name):
            raise ConfigError(f"metrics: {name!r} is a word that the network uses itself; rename that metric")


def _cutoff(data: FleetData, config: TrainingSettings) -> int:
    first, end = min(series.first_slot for series in data.series), max(series.end_slot for series in data.series)
    return end - max(ceil((end - first) * VALIDATION_SHARE), config.max_prediction_length)


def _training_series(data: FleetData, config: TrainingSettings, cutoff: int) -> list[Series]:
    needed = min_encoder_length(config) + config.max_prediction_length
    parts = [series.between(series.first_slot, cutoff) for series in data.series]
    long_enough = [part for part in parts if len(part.values) >= needed]
    if not long_enough:
        raise _too_short(data, config, part="the oldest 80 %", longest=max(len(part.values) for part in parts))
    return long_enough


def _validation_series(data: FleetData, config: TrainingSettings, cutoff: int) -> list[Series]:
    shortest, horizon = min_encoder_length(config), config.max_prediction_length
    series_list = [
        series for series in data.series if series.end_slot - max(series.first_slot + shortest, cutoff) >= horizon
    ]
    if not series_list:
        longest = max(len(series.between(cutoff - shortest, series.end_slot).values) for series in data.series)
        raise _too_short(data, config, part="the newest 20 % and half an encoder before it", longest=longest)
    return series_list


def _too_short(data: FleetData, config: TrainingSettings, *, part: str, longest: int) -> DatasetError:
    shortest, horizon = min_encoder_length(config), config.max_prediction_length
    return DatasetError(
        f"{data.directory}: too short: in {part} the longest unbroken series has {longest} slots of "
        f"{data.interval_seconds} s, but a window needs {shortest} (half of the encoder) + {horizon} = "
        f"{shortest + horizon}. Give more data, or lower training.max_encoder_length ({config.max_encoder_length}) or "
        f"training.max_prediction_length ({horizon})."
    )
