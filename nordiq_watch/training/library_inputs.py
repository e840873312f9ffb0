"""Windows in the form of the library's models, cut from the series for many windows at once.

The library's own dataset holds all series as one table, with an index of all overlapping windows, and builds each
window separately in Python. These batches hold the same numbers, except for zeros where the network never reads: the
future of inputs not known in advance.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_forecasting import TimeSeriesDataSet
from torch import Tensor

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import calendar_input, useful_inputs
from nordiq_watch.network.normalizers import Normalized, normalize
from nordiq_watch.records.arrays import DoubleArray, FloatArray, IntArray
from nordiq_watch.spec import FleetCalendar, TargetNormalizer
from nordiq_watch.training.derived_windows import DerivedInputs, LagChoice
from nordiq_watch.training.windows import Places, SeriesWindows

Element = TypeVar("Element", bound=np.generic)

Batch = tuple[dict[str, Any], tuple[Any, None]]
"""x and (y, no weights) in the form of pytorch-forecasting's models; y is a list if there are several targets."""


class Windows:
    """The windows of `source` as inputs and targets; `skeleton` defines their order, codes and scalers.

    fill_values: per metric, for series that lack it. origin_slot: slot 0 of `decoder_time_idx`.
    """

    def __init__(
        self,
        source: SeriesWindows,
        skeleton: TimeSeriesDataSet,
        *,
        fill_values: DoubleArray,
        interval_seconds: int,
        calendar: FleetCalendar,
        lags: LagChoice,
        origin_slot: int,
    ) -> None:
        self.source = source
        self.shortest, self.longest = int(skeleton.min_encoder_length), int(skeleton.max_encoder_length)
        self._horizon = source.horizon
        self._several_targets = bool(skeleton.multi_target)
        self._column = {name: column for column, name in enumerate(skeleton.reals)}
        self._targets: list[str] = list(skeleton.target_names)
        self._labels: list[str] = list(skeleton.flat_categoricals)
        self._codes = _label_codes(source, skeleton)
        self._scalers = skeleton._scalers
        self._normalizer = TargetNormalizer(
            kind="encoder", transformation="relu", center_length=1, scale_length=self.longest
        )
        self._derived = DerivedInputs(
            source, self._targets, lags, longest=self.longest, interval_seconds=interval_seconds
        )
        self._fill_values = fill_values.astype(np.float32)
        self._origin_slot = origin_slot
        self._first_slots = np.array([one.first_slot for one in source.series], dtype=np.int64)
        self._known = _calendar_table(source, interval_seconds, calendar)  # from the first slot of all series

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, places: Places, lengths: IntArray | None = None) -> Batch:
        """The windows at `places`, with encoders of these lengths, or as long as history and network allow.

        Shorter encoders are aligned left and padded with zeros, as the library does.
        """
        longest = np.minimum(places.origins, self.longest)
        wanted = longest if lengths is None else np.minimum(lengths, longest)
        width = int(wanted.max())
        past, _, ahead = self.source.cut(*places, past=width)
        behind = np.arange(width) >= wanted[:, None]  # (n, width)
        counts = torch.from_numpy(wanted)
        history = self._by_target(_align_left(past, wanted)).masked_fill_(torch.from_numpy(behind), 0.0)
        truth = self._by_target(ahead)
        scaled = self._normalize(history, counts)
        encoder_slots, decoder_slots = self._slots(places, wanted, width)
        encoder_cat, decoder_cat = self._categoricals(places, wanted, width)
        encoder_cont, decoder_cont = self._reals_of(scaled, counts, encoder_slots, decoder_slots)
        derived = self._derived.compute(places, wanted, history, scales=scaled.input_scale[..., 1:])
        self._fill_in(encoder_cont, derived[0])
        self._fill_in(decoder_cont, derived[1])
        if behind.any():
            encoder_cat[behind], encoder_cont[behind] = 0, 0.0
        x = {
            "encoder_cat": torch.from_numpy(encoder_cat),
            "encoder_cont": torch.from_numpy(encoder_cont),
            "encoder_target": self._like_targets(history),
            "encoder_lengths": counts,
            "decoder_cat": torch.from_numpy(decoder_cat),
            "decoder_cont": torch.from_numpy(decoder_cont),
            "decoder_target": self._like_targets(truth),
            "decoder_lengths": torch.full_like(counts, self._horizon),
            "decoder_time_idx": torch.from_numpy(decoder_slots - self._origin_slot),
            "groups": torch.from_numpy(places.series[:, None]),
            "target_scale": self._like_targets(scaled.output_scale),
        }
        return x, (self._like_targets(truth), None)

    def _fill_in(self, reals: FloatArray, inputs: Mapping[str, Tensor]) -> None:
        for name, values in inputs.items():
            reals[..., self._column[name]] = values.numpy()

    def _by_target(self, values: FloatArray) -> Tensor:
        """From (n, steps, metrics) to (targets, n, steps), a metric that a series lacks filled."""
        filled = np.where(np.isnan(values), self._fill_values, values)
        return torch.from_numpy(np.ascontiguousarray(filled.transpose(2, 0, 1)))

    def _like_targets(self, by_target: Tensor) -> list[Tensor] | Tensor:
        return list(by_target) if self._several_targets else by_target[0]

    def _normalize(self, history: Tensor, lengths: Tensor) -> Normalized:
        """All targets at once, each array with the targets as its first axis."""
        targets = len(history)
        rows = normalize(self._normalizer, history.flatten(0, 1), lengths=lengths.repeat(targets), servers=())
        values, input_scale, output_scale = (
            part.reshape(targets, -1, part.shape[1]) for part in (rows.values, rows.input_scale, rows.output_scale)
        )
        return Normalized(values, input_scale, output_scale)

    def _slots(self, places: Places, lengths: IntArray, width: int) -> tuple[IntArray, IntArray]:
        """Slots of encoder (n, width) and decoder (n, horizon); behind a shorter encoder, its last one."""
        origins = (self._first_slots[places.series] + places.origins)[:, None]
        encoder = np.minimum(origins - lengths[:, None] + np.arange(width), origins - 1)
        return encoder, origins + np.arange(self._horizon)

    def _categoricals(self, places: Places, lengths: IntArray, width: int) -> tuple[IntArray, IntArray]:
        """Codes of all labels in encoder (n, width, labels) and decoder (n, horizon, labels)."""
        shapes = [(len(lengths), steps, len(self._labels)) for steps in (width, self._horizon)]
        encoder, decoder = (np.empty(shape, dtype=np.int64) for shape in shapes)
        for column, name in enumerate(self._labels):
            if name == "status":
                past, ahead = self.source.cut_statuses(*places, past=width)
                encoder[..., column] = self._codes[name][_align_left(past, lengths)]
                decoder[..., column] = self._codes[name][ahead]
            else:
                encoder[..., column] = decoder[..., column] = self._codes[name][places.series][:, None]
        return encoder, decoder

    def _reals_of(
        self, scaled: Normalized, lengths: Tensor, encoder_slots: IntArray, decoder_slots: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """All numbers in encoder (n, width, reals) and decoder (n, horizon, reals); targets are 0 in the decoder.

        By numpy: torch would divide the copies among threads, which on a busy machine wait longer than they copy.
        """
        static = self._static_reals(scaled, lengths).numpy()
        parts = []
        for slots, begins in ((encoder_slots, -lengths.numpy()[:, None]), (decoder_slots, 0)):
            reals = np.empty((*slots.shape, static.shape[1]), dtype=np.float32)
            reals[:] = static[:, None]
            reals[..., self._column["relative_time_idx"]] = (begins + np.arange(slots.shape[1])) / self.longest
            since_first = slots - self._first_slots.min()
            for name, values in self._known.items():
                reals[..., self._column[name]] = values[since_first]
            parts.append(reals)
        for name, values in zip(self._targets, scaled.values, strict=True):
            parts[0][..., self._column[name]] = values.numpy()
        return parts[0], parts[1]

    def _static_reals(self, scaled: Normalized, lengths: Tensor) -> Tensor:
        """(n, reals): encoder length and each target's own center and scale; 0 for all others."""
        reals = torch.zeros(len(lengths), len(self._column))
        reals[:, self._column["encoder_length"]] = ((lengths.double() - 0.5 * self.longest) / self.longest * 2).float()
        for name, scales in zip(self._targets, scaled.input_scale.double(), strict=True):
            for part, values in zip(("center", "scale"), scales.T, strict=True):
                scaler = self._scalers[f"{name}_{part}"]
                reals[:, self._column[f"{name}_{part}"]] = ((values - scaler.mean_[0]) / scaler.scale_[0]).float()
        return reals


def _calendar_table(source: SeriesWindows, interval_seconds: int, calendar: FleetCalendar) -> dict[str, FloatArray]:
    """Calendar input → its value in each slot from the first to the last of all series: many windows share a slot."""
    slots = np.arange(min(one.first_slot for one in source.series), max(one.end_slot for one in source.series))
    compute = partial(calendar_input, slots=slots, interval_seconds=interval_seconds, calendar=calendar)
    return {name: compute(name).astype(np.float32) for name in useful_inputs(calendar)}


def _label_codes(source: SeriesWindows, skeleton: TimeSeriesDataSet) -> dict[str, IntArray]:
    """Label input → its code per series, or, for the status, per code of `metrics.STATUSES`; 0 for unknown ones."""
    labels = {
        "profile": [one.profile for one in source.series],
        "server_name": [one.server for one in source.series],
        "status": list(STATUSES),
    }
    codes = {}
    for name in skeleton.flat_categoricals:
        classes = skeleton.get_transformer(name).classes_
        codes[name] = np.array([classes.get(label, 0) for label in labels[name]], dtype=np.int64)
    return codes


def _align_left(past: NDArray[Element], lengths: IntArray) -> NDArray[Element]:
    """Moves the last `lengths` steps of each row (n, steps, …) to its beginning; what follows is meaningless."""
    width = past.shape[1]
    if (lengths == width).all():
        return past
    steps = np.minimum(width - lengths[:, None] + np.arange(width), width - 1)
    aligned: NDArray[Element] = past[np.arange(len(past))[:, None], steps]
    return aligned
