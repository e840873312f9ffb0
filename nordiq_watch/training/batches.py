"""Batches of windows, cut from the tensors of a TimeSeriesDataSet for many windows at once.

The library builds each window by itself in Python, which takes as long as the network's own forward and backward pass.
These batches hold the same numbers, except zeros where the network never reads: the future of what is not known ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pytorch_forecasting import TimeSeriesDataSet
from torch import Tensor

from nordiq_watch.network.normalizers import Normalized, normalize
from nordiq_watch.records import IntArray
from nordiq_watch.spec import TargetNormalizer

UNKNOWN_SHARE = 0.1
"""How often a label is hidden in training, so that an unknown server, profile or status is something learnt."""

Batch = tuple[dict[str, Any], tuple[Any, None]]
"""x and (y, no weights), as pytorch-forecasting's models take them; y is a list where there are several targets."""


class Windows:
    """The windows of a dataset made by `timeseries`; window r is row r of the dataset's index."""

    def __init__(self, dataset: TimeSeriesDataSet) -> None:
        self._horizon = int(dataset.max_prediction_length)
        self._longest = int(dataset.max_encoder_length)
        index = dataset.index
        self._first = torch.tensor(index["index_start"].to_numpy(), dtype=torch.int64)
        self._lengths = torch.tensor(index["sequence_length"].to_numpy(), dtype=torch.int64) - self._horizon
        self._data: dict[str, Any] = dataset.data
        self._several_targets = bool(dataset.multi_target)
        self._reals: list[str] = list(dataset.reals)
        self._targets: list[str] = list(dataset.target_names)
        self._scalers = dataset._scalers
        self._normalizer = TargetNormalizer(
            kind="encoder", transformation="relu", center_length=1, scale_length=self._longest
        )

    def __len__(self) -> int:
        return len(self._first)

    def batch(self, rows: IntArray) -> Batch:
        """The windows `rows`. Shorter encoders stand on the left, zeros behind them, as the library pads them."""
        first, lengths = self._first[rows], self._lengths[rows]
        steps = torch.arange(int(lengths.max()))
        behind = steps >= lengths[:, None]  # (windows, encoder)
        past = first[:, None] + steps.where(~behind, lengths[:, None] - 1)
        future = (first + lengths)[:, None] + torch.arange(self._horizon)
        history = [values[past].masked_fill(behind, 0.0) for values in self._data["target"]]
        truth = [values[future] for values in self._data["target"]]
        scaled = [self._normalize(values, lengths) for values in history]
        x = {
            "encoder_cat": self._data["categoricals"][past].masked_fill(behind[..., None], 0),
            "encoder_cont": self._encoder_reals(past, lengths, scaled).masked_fill(behind[..., None], 0.0),
            "encoder_target": self._like_targets(history),
            "encoder_lengths": lengths,
            "decoder_cat": self._data["categoricals"][future],
            "decoder_cont": self._decoder_reals(future, lengths, scaled),
            "decoder_target": self._like_targets(truth),
            "decoder_lengths": torch.full_like(lengths, self._horizon),
            "decoder_time_idx": self._data["time"][future],
            "groups": self._data["groups"][first],
            "target_scale": self._like_targets([target.output_scale for target in scaled]),
        }
        return x, (self._like_targets(truth), None)

    def _like_targets(self, tensors: list[Tensor]) -> list[Tensor] | Tensor:
        return tensors if self._several_targets else tensors[0]

    def _normalize(self, history: Tensor, lengths: Tensor) -> Normalized:
        return normalize(self._normalizer, history, lengths=lengths, servers=())

    def _encoder_reals(self, past: Tensor, lengths: Tensor, scaled: Sequence[Normalized]) -> Tensor:
        reals: Tensor = self._data["reals"][past]
        self._set_static_reals(reals, lengths, scaled)
        for name, target in zip(self._targets, scaled, strict=True):
            reals[..., self._reals.index(name)] = target.values
        steps = torch.arange(past.shape[1])
        reals[..., self._reals.index("relative_time_idx")] = (steps - lengths[:, None]) / self._longest
        return reals

    def _decoder_reals(self, future: Tensor, lengths: Tensor, scaled: Sequence[Normalized]) -> Tensor:
        reals: Tensor = self._data["reals"][future]
        self._set_static_reals(reals, lengths, scaled)
        for name in self._targets:
            reals[..., self._reals.index(name)] = 0.0
        reals[..., self._reals.index("relative_time_idx")] = torch.arange(self._horizon) / self._longest
        return reals

    def _set_static_reals(self, reals: Tensor, lengths: Tensor, scaled: Sequence[Normalized]) -> None:
        """Encoder length and each target's own center and scale, the same in all steps of a window."""
        length = (lengths.double() - 0.5 * self._longest) / self._longest * 2
        reals[..., self._reals.index("encoder_length")] = length.float()[:, None]
        for name, target in zip(self._targets, scaled, strict=True):
            for column, part in enumerate(("center", "scale")):
                scaler = self._scalers[f"{name}_{part}"]
                value = (target.input_scale[:, column].double() - scaler.mean_[0]) / scaler.scale_[0]
                reals[..., self._reals.index(f"{name}_{part}")] = value.float()[:, None]


class TrainingBatches:
    """Shuffled anew each time it is iterated, with labels hidden at random; all chance comes from `seed`.

    A last batch that would not be full is left out.
    """

    def __init__(self, windows: Windows, *, batch_size: int, max_batches: int | None, seed: int) -> None:
        self._windows = windows
        self._batch_size = min(batch_size, len(windows))
        batches = len(windows) // self._batch_size
        self._batches = min(batches, max_batches or batches)
        self._random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        rows = self._random.permutation(len(self._windows))[: self._batches * self._batch_size]
        for chosen in rows.reshape(self._batches, self._batch_size):
            x, y = self._windows.batch(chosen)
            self._hide_labels(x)
            yield x, y

    def _hide_labels(self, x: dict[str, Any]) -> None:
        """Class 0 is the unknown one. A label is hidden in a window's whole length."""
        windows, _, labels = x["encoder_cat"].shape
        hidden = torch.from_numpy(self._random.random((windows, 1, labels)) < UNKNOWN_SHARE)
        for part in ("encoder_cat", "decoder_cat"):
            x[part] = x[part].masked_fill(hidden, 0)


class ValidationBatches:
    """The same windows in the same order each time."""

    def __init__(self, windows: Windows, rows: IntArray, *, batch_size: int) -> None:
        self._windows = windows
        self._parts = [rows[begin : begin + batch_size] for begin in range(0, len(rows), batch_size)]

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        return (self._windows.batch(part) for part in self._parts)


def spread_evenly(dataset: TimeSeriesDataSet, *, limit: int) -> IntArray:
    """At most `limit` rows of the dataset's index, evenly spaced; of windows with one forecast, that with most history.

    Rows are ordered by series and time.
    """
    index = dataset.index.sort_values(["index_end", "sequence_length"]).drop_duplicates("index_end", keep="last")
    rows: IntArray = index.index.to_numpy(dtype=np.int64)
    if len(rows) > limit:
        rows = rows[np.linspace(0, len(rows) - 1, limit).round().astype(np.int64)]
    return rows
