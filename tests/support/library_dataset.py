"""The library's own dataset of a split: the reference of the trainer's batches, and its peer in benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pytorch_forecasting import TimeSeriesDataSet

from nordiq_watch.network.derived_inputs import split_name
from nordiq_watch.training.dataset import FleetData, Series
from nordiq_watch.training.frames import Frames
from nordiq_watch.training.quiet import quiet_libraries
from nordiq_watch.training.timeseries import Split


def library_dataset(
    split: Split, data: FleetData, series: Sequence[Series], *, first_slot: int | None = None
) -> TimeSeriesDataSet:
    """All windows of `series`, or those that forecast nothing before `first_slot`, with the split's scalers and
    labels.
    """
    fill_values = np.array(list(split.fill_values.values()))
    per_server = "server_name" in split.skeleton.flat_categoricals
    derived = [name for name in split.skeleton.reals if split_name(name, split.skeleton.target_names)]
    frame = Frames(data, fill_values, per_server=per_server, derived=derived).build(series)
    first_time = None if first_slot is None else first_slot - split.origin_slot
    with quiet_libraries():
        return TimeSeriesDataSet.from_dataset(split.skeleton, frame, min_prediction_idx=first_time)
