"""The part of a window that a model reads: of each server the slots of its encoder, without gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.network.derived_inputs import lag_kinds, lag_slots
from nordiq_watch.network.gaps import fill_gaps, fill_gaps_there
from nordiq_watch.network.lagged import Lagged, Read, read_lagged
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class History:
    """Encoders of some servers, each from its first sample at column 0 to `last_slot`.

    slots (servers or 1, encoder); statuses (servers, encoder); values (servers, encoder, metrics) without gaps. Columns
    from lengths[r] on repeat the last one. measured (servers, metrics). lagged: kind of `derived_inputs.LAGS` → the
    targets that long before each step, for the kinds that the model reads. values, statuses and lagged may be on a GPU.
    """

    servers: Sequence[str]
    profiles: Sequence[str]
    last_slot: int
    lengths: Tensor
    slots: IntArray
    values: Tensor
    statuses: Tensor
    measured: BoolArray
    lagged: Mapping[str, Lagged]

    def vary(self, values: Tensor) -> History:
        """One server's history with other values, (versions, past, metrics): a row per version."""
        versions = len(values)
        return replace(
            self,
            servers=list(self.servers) * versions,
            profiles=list(self.profiles) * versions,
            lengths=self.lengths.repeat(versions),
            slots=self.slots.repeat(versions, axis=0),
            values=values,
            statuses=self.statuses.repeat(versions, 1),
            measured=self.measured.repeat(versions, axis=0),
            lagged={kind: lagged.vary(values) for kind, lagged in self.lagged.items()},
        )


class Histories:
    """Takes the encoders of one model from windows. Its methods are pure."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._fill_values = [spec.fill_values.get(metric, 0.0) for metric in spec.metrics]
        past, ahead = spec.network.time_varying_reals_encoder, spec.network.time_varying_reals_decoder
        self._past_lags = lag_kinds(past, spec.targets)
        self._lags = {kind: lag_slots(kind, spec.interval_seconds) for kind in lag_kinds((*past, *ahead), spec.targets)}

    def columns(self, snapshot: WindowSnapshot) -> list[int]:
        """Indices of the model's metrics in the window. Raises ValueError if the window cannot serve this model."""
        if snapshot.interval_seconds != self._spec.interval_seconds:
            raise ValueError(
                f"the window has slots of {snapshot.interval_seconds} s, the model of {self._spec.interval_seconds} s"
            )
        absent = [metric for metric in self._spec.metrics if metric not in snapshot.metrics]
        if absent:
            raise ValueError(f"the window does not have the model's metrics {', '.join(absent)}")
        return [snapshot.metrics.index(metric) for metric in self._spec.metrics]

    def sampled(self, snapshot: WindowSnapshot, values: FloatArray) -> BoolArray:
        """(servers, encoder): True where a slot has a sample."""
        encoder = values[:, -self._spec.max_encoder_length :]
        sampled = np.zeros(encoder.shape[:2], dtype=np.bool_)
        for column in self.columns(snapshot):  # one by one: the whole fleet's window is not copied
            sampled |= ~np.isnan(encoder[..., column])
        return sampled

    def cut(self, snapshot: WindowSnapshot, rows: IntArray) -> History:
        """Histories of these rows of the snapshot; each has a sample."""
        length = self._spec.max_encoder_length
        window = snapshot.values[rows, -length:]
        filled, measured = fill_gaps(window[..., self.columns(snapshot)], self._fill_values)
        statuses = snapshot.statuses[rows, -length:]
        first = self.sampled(snapshot, window).argmax(axis=1)  # (servers,)
        lengths = window.shape[1] - first
        columns = (first[:, None] + np.arange(lengths.max())).clip(max=window.shape[1] - 1)  # (servers, encoder)
        if first.any():  # else all are there from the first column on, and nothing moves to the left
            filled = np.take_along_axis(filled, columns[..., None], axis=1)
            statuses = np.take_along_axis(statuses, columns, axis=1)
        targets = self.columns(snapshot)[: len(self._spec.targets)]
        lagged = self._read_lagged(
            lambda begin, end: torch.from_numpy(snapshot.values[rows, begin:end][..., targets]),
            width=snapshot.values.shape[1],
            encoder=window.shape[1],
        )
        return History(
            servers=[snapshot.servers[row] for row in rows],
            profiles=[snapshot.profiles[row] for row in rows],
            last_slot=snapshot.last_slot,
            lengths=torch.from_numpy(lengths),
            slots=snapshot.last_slot - window.shape[1] + 1 + columns,
            values=torch.from_numpy(filled),
            statuses=torch.from_numpy(statuses),
            measured=measured,
            lagged={kind: one.align(columns) for kind, one in lagged.items()} if first.any() else lagged,
        )

    def take_whole(self, snapshot: WindowSnapshot, rows: IntArray, *, values: Tensor, statuses: Tensor) -> History:
        """As `cut`, on any device, for rows that all have a sample in the oldest slot of the encoder.

        values (rows, slots, metrics): the model's metrics in the newest slots, as many as it reads back, NaN where not
        measured; statuses (rows, slots): uint8.
        """
        encoder, targets = min(self._spec.max_encoder_length, values.shape[1]), len(self._spec.targets)
        fill_values = torch.tensor(self._fill_values, device=values.device)
        filled, measured = fill_gaps_there(values[:, -encoder:], fill_values)
        return History(
            servers=[snapshot.servers[row] for row in rows],
            profiles=[snapshot.profiles[row] for row in rows],
            last_slot=snapshot.last_slot,
            lengths=torch.full((len(rows),), encoder),
            slots=np.arange(snapshot.last_slot - encoder + 1, snapshot.last_slot + 1)[None],
            values=filled,
            statuses=statuses[:, -encoder:],
            measured=measured.cpu().numpy(),
            lagged=self._read_lagged(
                lambda begin, end: values[:, begin:end, :targets], width=values.shape[1], encoder=encoder
            ),
        )

    def _read_lagged(self, read: Read, *, width: int, encoder: int) -> dict[str, Lagged]:
        """Kind → what `read` has for it, from a window of `width` columns. encoder: slots of the longest encoder."""
        return {
            kind: read_lagged(
                read,
                width=width,
                lag=lag,
                encoder=encoder if kind in self._past_lags else 0,
                horizon=self._spec.max_prediction_length,
            )
            for kind, lag in self._lags.items()
        }
