"""From a window of metrics to the network's inputs: the numbers that pytorch-forecasting's TimeSeriesDataSet would
have made of the same data, without it.

The tests compare them: equal bit for bit where scaling is by fitted tables, within 4e-6 where each encoder is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import CALENDAR, calendar_input
from nordiq_watch.network.checks import ENCODER_LENGTH, RELATIVE_TIME, SCALE_SUFFIXES, STATUS, required_samples
from nordiq_watch.network.gaps import fill_gaps, fill_gaps_there
from nordiq_watch.network.normalizers import Normalized, normalize
from nordiq_watch.records import BoolArray, FloatArray, IntArray, WindowSnapshot
from nordiq_watch.spec import CategoricalEncoder, ModelSpec

_UNREADABLE = -1  # the code of a label for which the network has no class


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the network reads for some servers, and what its output is unscaled with.

    Row r counts up to encoder_lengths[r] slots, from the left; zeros stand behind. Codes are int64, numbers float32.
    encoder_cat (servers, encoder, len(x_categoricals)), encoder_cont (servers, encoder, len(x_reals)),
    decoder_cat and decoder_cont the same for the horizon; what is not known ahead is zero there and never read.
    output_scales: (servers, 2), center and scale, of each target. measured (servers, targets): False where all of an
    encoder's values of that target are made up by the rule for gaps. encoder_lengths and measured are in host memory,
    all else is where the values are that it was built from.
    """

    encoder_cat: Tensor
    encoder_cont: Tensor
    encoder_lengths: Tensor
    decoder_cat: Tensor
    decoder_cont: Tensor
    output_scales: tuple[Tensor, ...]
    measured: BoolArray


@dataclass(frozen=True, slots=True)
class _History:
    """The encoders of some servers, each beginning at column 0 with its first sample and ending at `last_slot`.

    slots (servers or 1, encoder); statuses (servers, encoder); values (servers, encoder, metrics) without gaps. Columns
    from lengths[r] on repeat the last one. measured (servers, metrics). values and statuses may be on a GPU.
    """

    servers: Sequence[str]
    profiles: Sequence[str]
    last_slot: int
    lengths: Tensor
    slots: IntArray
    values: Tensor
    statuses: Tensor
    measured: BoolArray


class _Codes:
    """Labels to codes, many at a time."""

    def __init__(self, encoder: CategoricalEncoder) -> None:
        self._code_of = {label: code for code, label in enumerate(encoder.classes)}
        self._unknown = _UNREADABLE if encoder.unknown_code is None else encoder.unknown_code

    def of(self, labels: Sequence[str]) -> IntArray:
        return np.array([self._code_of.get(label, self._unknown) for label in labels], dtype=np.int64)


class Features:
    """What one model makes of windows. Built once from a checked spec; its methods are pure."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._fill_values = [spec.fill_values.get(metric, 0.0) for metric in spec.metrics]
        self._codes = {name: _Codes(spec.categorical_encoders[name]) for name in spec.network.x_categoricals}
        self._status_codes = self._codes[STATUS].of(STATUSES) if STATUS in self._codes else None
        self._ahead = np.arange(1, spec.max_prediction_length + 1)

    def warm_rows(self, snapshot: WindowSnapshot) -> IntArray:
        """Rows of the servers that can be forecast.

        Warm is who has `required_samples` samples in the encoder: slots with any of the model's metrics measured. Left
        out is also who has a label that is new to a network without a class for new ones.
        """
        return self.choose_warm(snapshot, self._sampled(snapshot, snapshot.values).sum(axis=1))

    def choose_warm(self, snapshot: WindowSnapshot, samples: IntArray) -> IntArray:
        """The same by somebody else's count: samples (servers,), in the encoder."""
        return np.flatnonzero((samples >= required_samples(self._spec)) & self._readable(snapshot))

    def build(self, snapshot: WindowSnapshot, rows: IntArray) -> Inputs:
        """The inputs for these rows of the snapshot, all of them warm; at least one."""
        return self._build(self._history(snapshot, rows))

    def build_whole(self, snapshot: WindowSnapshot, rows: IntArray, *, values: Tensor, statuses: Tensor) -> Inputs:
        """The same, on any device, from a copy of the encoders there. Each of the rows has a sample in the oldest slot.

        values (rows, encoder, metrics): the model's metrics, NaN where not measured; statuses (rows, encoder): uint8.
        """
        filled, measured = fill_gaps_there(values, torch.tensor(self._fill_values, device=values.device))
        encoder = values.shape[1]
        return self._build(
            _History(
                servers=[snapshot.servers[row] for row in rows],
                profiles=[snapshot.profiles[row] for row in rows],
                last_slot=snapshot.last_slot,
                lengths=torch.full((len(rows),), encoder),
                slots=np.arange(snapshot.last_slot - encoder + 1, snapshot.last_slot + 1)[None],
                values=filled,
                statuses=statuses,
                measured=measured.cpu().numpy(),
            )
        )

    @property
    def calendar(self) -> tuple[str, ...]:
        """The calendar inputs that the network reads."""
        return tuple(name for name in self._spec.network.x_reals if name in CALENDAR)

    def history_of(self, snapshot: WindowSnapshot, row: int) -> Tensor:
        """(past, metrics): what the network gets to see of one warm server, gaps filled, the newest slot last."""
        history = self._history(snapshot, np.array([row]))
        return history.values[0, : int(history.lengths[0])]

    def rehearse(self, snapshot: WindowSnapshot, row: int, histories: Tensor, *, calendar_shares: Tensor) -> Inputs:
        """The inputs for one server as if its past had been otherwise, differentiable in both tensors.

        histories (versions, past, metrics). calendar_shares (versions, len(self.calendar)): 1 leaves an input as it is,
        0 puts it into the middle of its circle.
        """
        known = self._history(snapshot, np.array([row]))
        versions = len(histories)
        inputs = self._build(
            replace(
                known,
                servers=list(known.servers) * versions,
                profiles=list(known.profiles) * versions,
                lengths=known.lengths.repeat(versions),
                slots=known.slots.repeat(versions, axis=0),
                values=histories,
                statuses=known.statuses.repeat(versions, 1),
                measured=known.measured.repeat(versions, axis=0),
            )
        )
        columns = [self._spec.network.x_reals.index(name) for name in self.calendar]
        middles = torch.tensor([float(self._scaled(name, torch.zeros(1))) for name in self.calendar])
        shares = calendar_shares[:, None]  # (versions, 1, calendar)
        for reals in (inputs.encoder_cont, inputs.decoder_cont):
            reals[..., columns] = middles + shares * (reals[..., columns] - middles)
        return inputs

    def _build(self, history: _History) -> Inputs:
        targets = self._normalize_targets(history)
        encoder_cat, decoder_cat = self._categoricals(history)
        encoder_cont, decoder_cont = self._reals(history, targets)
        behind = torch.arange(history.values.shape[1]) >= history.lengths[:, None]
        if bool(behind.any()):
            encoder_cat[behind] = 0
            encoder_cont[behind] = 0
        return Inputs(
            encoder_cat=encoder_cat,
            encoder_cont=encoder_cont,
            encoder_lengths=history.lengths,
            decoder_cat=decoder_cat,
            decoder_cont=decoder_cont,
            output_scales=tuple(target.output_scale for target in targets.values()),
            measured=history.measured[:, : len(self._spec.targets)],
        )

    def _sampled(self, snapshot: WindowSnapshot, values: FloatArray) -> BoolArray:
        """(servers, encoder): is there a sample. values: the snapshot's, of all or of some servers."""
        encoder = values[:, -self._spec.max_encoder_length :]
        sampled = np.zeros(encoder.shape[:2], dtype=np.bool_)
        for column in self.columns(snapshot):  # one by one: the whole fleet's window is not copied
            sampled |= ~np.isnan(encoder[..., column])
        return sampled

    def columns(self, snapshot: WindowSnapshot) -> list[int]:
        """Where the window has the model's metrics. ValueError for a window that this model cannot read."""
        if snapshot.interval_seconds != self._spec.interval_seconds:
            raise ValueError(
                f"the window has slots of {snapshot.interval_seconds} s, the model of {self._spec.interval_seconds} s"
            )
        absent = [metric for metric in self._spec.metrics if metric not in snapshot.metrics]
        if absent:
            raise ValueError(f"the window does not have the model's metrics {', '.join(absent)}")
        return [snapshot.metrics.index(metric) for metric in self._spec.metrics]

    def _readable(self, snapshot: WindowSnapshot) -> BoolArray:
        """(servers,): every label of the server has a code."""
        readable = np.ones(len(snapshot.servers), dtype=np.bool_)
        for name, labels in (("server_name", snapshot.servers), ("profile", snapshot.profiles)):
            if name in self._codes:
                readable &= self._codes[name].of(labels) != _UNREADABLE
        if self._status_codes is not None and _UNREADABLE in self._status_codes:
            statuses = snapshot.statuses[:, -self._spec.max_encoder_length :]
            readable &= (self._status_codes[statuses] != _UNREADABLE).all(axis=1)
        return readable

    def _history(self, snapshot: WindowSnapshot, rows: IntArray) -> _History:
        length = self._spec.max_encoder_length
        window = snapshot.values[rows, -length:]
        filled, measured = fill_gaps(window[..., self.columns(snapshot)], self._fill_values)
        statuses = snapshot.statuses[rows, -length:]
        first = self._sampled(snapshot, window).argmax(axis=1)  # (servers,)
        lengths = window.shape[1] - first
        columns = (first[:, None] + np.arange(lengths.max())).clip(max=window.shape[1] - 1)  # (servers, encoder)
        if first.any():  # else all are there from the first column on, and nothing moves to the left
            filled = np.take_along_axis(filled, columns[..., None], axis=1)
            statuses = np.take_along_axis(statuses, columns, axis=1)
        return _History(
            servers=[snapshot.servers[row] for row in rows],
            profiles=[snapshot.profiles[row] for row in rows],
            last_slot=snapshot.last_slot,
            lengths=torch.from_numpy(lengths),
            slots=snapshot.last_slot - window.shape[1] + 1 + columns,
            values=torch.from_numpy(filled),
            statuses=torch.from_numpy(statuses),
            measured=measured,
        )

    def _normalize_targets(self, history: _History) -> dict[str, Normalized]:
        return {
            target: normalize(
                self._spec.target_normalizers[target],
                history.values[..., column],
                lengths=history.lengths,
                servers=history.servers,
            )
            for column, target in enumerate(self._spec.targets)
        }

    def _categoricals(self, history: _History) -> tuple[Tensor, Tensor]:
        """Codes of encoder and horizon, (servers, steps, len(x_categoricals))."""
        names, device = self._spec.network.x_categoricals, history.values.device
        servers, encoder = history.values.shape[:2]
        past = torch.zeros(servers, encoder, len(names), dtype=torch.int64, device=device)
        future = torch.zeros(servers, len(self._ahead), len(names), dtype=torch.int64, device=device)
        labels = {"server_name": history.servers, "profile": history.profiles}
        for column, name in enumerate(names):
            if name == STATUS:
                assert self._status_codes is not None
                past[..., column] = torch.from_numpy(self._status_codes).to(device)[history.statuses.to(torch.int64)]
            else:
                codes = torch.from_numpy(self._codes[name].of(labels[name]))[:, None].to(device)
                past[..., column] = future[..., column] = codes
        return past, future

    def _reals(self, history: _History, targets: Mapping[str, Normalized]) -> tuple[Tensor, Tensor]:
        """Scaled numbers of encoder and horizon, (servers, steps, len(x_reals))."""
        names, device = self._spec.network.x_reals, history.values.device
        servers, encoder = history.values.shape[:2]
        past = torch.zeros(servers, encoder, len(names), device=device)
        future = torch.zeros(servers, len(self._ahead), len(names), device=device)
        for column, name in enumerate(names):
            if name in targets:
                past[..., column] = targets[name].values
            elif name in self._spec.metrics:
                past[..., column] = self._scaled(name, history.values[..., self._spec.metrics.index(name)])
            else:
                known_past, known_future = self._known(name, history, targets)
                past[..., column] = self._scaled(name, known_past.to(device))
                future[..., column] = self._scaled(name, known_future.to(device))
        return past, future

    def _known(self, name: str, history: _History, targets: Mapping[str, Normalized]) -> tuple[Tensor, Tensor]:
        """An input that is known for encoder and horizon; both shapes broadcast to (servers, steps)."""
        if name in CALENDAR:
            return self._calendar(name, history.slots), self._calendar(name, history.last_slot + self._ahead)
        if name == RELATIVE_TIME:
            past = torch.from_numpy(history.slots - history.last_slot - 1)
            future = torch.from_numpy(self._ahead - 1)
            return past / self._spec.max_encoder_length, future / self._spec.max_encoder_length
        if name == ENCODER_LENGTH:
            longest = self._spec.max_encoder_length
            static = (history.lengths.double() - 0.5 * longest) / longest * 2
        else:
            target, _, part = name.rpartition("_")
            static = targets[target].input_scale[:, SCALE_SUFFIXES.index(f"_{part}")]
        return static[:, None], static[:, None]

    def _calendar(self, name: str, slots: IntArray) -> Tensor:
        """Computed once a slot: servers share them."""
        first = slots.min()
        once = calendar_input(name, np.arange(first, slots.max() + 1), interval_seconds=self._spec.interval_seconds)
        return torch.from_numpy(once[slots - first])

    def _scaled(self, name: str, values: Tensor) -> Tensor:
        scaler = self._spec.real_scalers.get(name)
        return values if scaler is None else (values.double() - scaler.center) / scaler.scale
