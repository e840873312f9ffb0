"""The real dataset of the e2e tests: where it is, its rows as feed records, what the library forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

from nordiq_watch.records.arrays import DoubleArray, FloatArray
from support.extras import state_forecast

GOOGLE_FLEET = Path(__file__).parents[2].parent / "shared" / "data" / "google-fleet"
METRICS = ("cpu_user_pct", "mem_used_pct")
INTERVAL_SECONDS = 300

needs_google_fleet = pytest.mark.skipif(
    not GOOGLE_FLEET.is_dir(), reason=f"the real dataset is not there: {GOOGLE_FLEET}"
)


class RealFleet:
    """values (servers, slots, metrics) of all servers; slot 0 of the arrays is `first_slot` of Unix time."""

    def __init__(self) -> None:
        table = pyarrow.parquet.read_table(GOOGLE_FLEET / "metrics.parquet").sort_by(
            [("server_name", "ascending"), ("timestamp", "ascending")]
        )
        names = np.array(table["server_name"].to_pylist())
        seconds = np.array([moment.timestamp() for moment in table["timestamp"].to_pylist()])
        self.servers = tuple(np.unique(names))
        slots = np.unique(seconds.astype(np.int64) // INTERVAL_SECONDS)
        self.first_slot = int(slots[0])
        columns = [np.array(table[metric]) for metric in METRICS]
        self.values: FloatArray = np.stack(columns, axis=-1).reshape(len(self.servers), len(slots), len(METRICS))

    def records(self, begin: int, end: int, *, servers: int | None = None) -> Iterator[dict[str, Any]]:
        """Rows of slots begin..end, in order of time, as a collector sends them."""
        for slot in range(begin, end):
            at = (self.first_slot + slot) * INTERVAL_SECONDS
            for name, values in zip(self.servers[:servers], self.values[:servers, slot], strict=True):
                measured = {metric: float(value) for metric, value in zip(METRICS, values, strict=True)}
                yield {"timestamp": at, "server_name": name, **measured}


def stated_forecast(directory: Path, fleet: RealFleet, *, end: int, settings: Any) -> dict[str, DoubleArray]:
    """Server → (targets, horizon, quantiles): what docs/model-directory.md says that a model forecasts.

    That is the library's own `predict` and, for a model with extras, the stated term in numpy.
    """
    from safetensors.torch import load_file

    from nordiq_watch.artifact.manifest import read_spec

    library = library_forecast(directory, fleet, end=end, settings=settings)
    network = np.stack([library[server] for server in fleet.servers]).astype(np.float64)
    spec = read_spec(directory)
    if spec.extras is None:
        return dict(zip(fleet.servers, network, strict=True))
    past = fleet.values[:, max(0, end - spec.max_encoder_length) : end]
    tensors = load_file(directory / spec.extras.file)
    stated = state_forecast(spec, tensors, network, list(past), last_slot=fleet.first_slot + end - 1)
    return dict(zip(fleet.servers, stated, strict=True))


def library_forecast(directory: Path, fleet: RealFleet, *, end: int, settings: Any) -> dict[str, FloatArray]:
    """Server → (targets, horizon, quantiles): pytorch-forecasting's own `predict` with the weights of a directory, from
    its own dataset, for windows that end before slot `end`.
    """
    import torch
    from pytorch_forecasting import TimeSeriesDataSet

    from nordiq_watch.artifact.manifest import read_spec
    from nordiq_watch.artifact.weights_file import read_weights
    from nordiq_watch.network.weights import build_network
    from nordiq_watch.training.dataset import Series, load_dataset
    from nordiq_watch.training.forecaster import build_forecaster
    from nordiq_watch.training.frames import Frames
    from nordiq_watch.training.quiet import quiet_libraries
    from nordiq_watch.training.timeseries import split_by_time

    spec, training = read_spec(directory), settings.training
    data = load_dataset(GOOGLE_FLEET, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    split = split_by_time(data, config=training, previous=spec)
    lengths = {name: length for name, (_, length) in spec.network.embedding_sizes.items()}
    network = build_forecaster(split, training, embedding_lengths=lengths)
    tensors = read_weights(directory / "model.safetensors").tensors
    network.load_state_dict(build_network(spec.network, tensors).state_dict())

    ahead = np.full((spec.max_prediction_length, len(METRICS)), 1.0, np.float32)  # never read by the network
    begin = end - spec.max_encoder_length
    windows = [
        Series(name, "Generic", fleet.first_slot + begin, np.concatenate([values[begin:end], ahead]).astype(np.float32))
        for name, values in zip(fleet.servers, fleet.values, strict=True)
    ]
    frame = Frames(data, np.zeros(len(METRICS)), per_server=False).build(windows)
    frame = frame.assign(**summaries_of([window.values[: -len(ahead)] for window in windows], steps=len(ahead)))
    with quiet_libraries():
        dataset = TimeSeriesDataSet.from_dataset(split.skeleton, frame, predict=True)
        loader = dataset.to_dataloader(train=False, batch_size=64, num_workers=0)
        output = network.eval().predict(
            loader,
            mode="quantiles",
            trainer_kwargs={"accelerator": "cpu", "logger": False, "enable_progress_bar": False},
        )
    stacked = torch.stack(list(output), dim=1).numpy()
    return dict(zip(fleet.servers, stacked, strict=True))


def summaries_of(encoders: Sequence[FloatArray], *, steps: int) -> dict[str, FloatArray]:
    """The summaries of docs/model-directory.md for each encoder (slots, metrics), one value per slot and step ahead."""
    columns: dict[str, list[float]] = {}
    for encoder in encoders:
        for values, metric in zip(encoder.T.astype(np.float64), METRICS, strict=True):
            moved = (values - values[-1]) / values.std(ddof=1)
            found = {"mean_1h": moved[-12:].mean(), "mean_6h": moved[-72:].mean(), "mean_encoder": moved.mean()}
            for kind, value in (found | {"spread_1h": moved[-12:].std()}).items():
                columns.setdefault(f"{metric}_{kind}", []).extend([float(value)] * (len(values) + steps))
    return {name: np.array(column, dtype=np.float32) for name, column in columns.items()}
