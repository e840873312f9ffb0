"""From a window of metrics to the network's inputs, equal to those of pytorch-forecasting's TimeSeriesDataSet.

The tests compare the two: bit for bit where scaling uses fitted tables, within 4e-6 where each encoder is scaled by
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.calendar import CALENDAR, calendar_input
from nordiq_watch.network.checks import ENCODER_LENGTH, RELATIVE_TIME, SCALE_SUFFIXES, STATUS, required_samples
from nordiq_watch.network.derived_inputs import SUMMARIES, relate, split_name, summarise
from nordiq_watch.network.histories import Histories, History
from nordiq_watch.network.normalizers import Normalized, normalize, transform
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import CategoricalEncoder, ModelSpec

_UNKNOWN = torch.zeros(1, 1)  # in the horizon, an input that is not known ahead
_UNREADABLE = -1  # the code of a label for which the network has no class


@dataclass(frozen=True, slots=True)
class Inputs:
    """The network's inputs for some servers, and the scales to undo on its output.

    Row r has encoder_lengths[r] slots, aligned left and padded with zeros. Codes are int64, numbers float32.
    encoder_cat (servers, encoder, len(x_categoricals)), encoder_cont (servers, encoder, len(x_reals)); decoder_cat and
    decoder_cont likewise for the horizon, where inputs not known in advance are zero and never read. output_scales:
    (servers, 2), center and scale, per target. measured (servers, targets): False where a target has no measurement in
    the encoder and all its values were filled. past: the same encoders as measured, for what forecasts beside the
    network. encoder_lengths and measured are in host memory, all else is on the device of the values it was built from.
    """

    encoder_cat: Tensor
    encoder_cont: Tensor
    encoder_lengths: Tensor
    decoder_cat: Tensor
    decoder_cont: Tensor
    output_scales: tuple[Tensor, ...]
    measured: BoolArray
    past: HistoryInputs


class _Codes:
    """Maps labels to codes, many at a time."""

    def __init__(self, encoder: CategoricalEncoder) -> None:
        self._code_of = {label: code for code, label in enumerate(encoder.classes)}
        self._unknown = _UNREADABLE if encoder.unknown_code is None else encoder.unknown_code

    def of(self, labels: Sequence[str]) -> IntArray:
        return np.array([self._code_of.get(label, self._unknown) for label in labels], dtype=np.int64)


class Features:
    """Builds one model's inputs from windows. Made once from a checked spec; its methods are pure."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._histories = Histories(spec)
        self._codes = {name: _Codes(spec.categorical_encoders[name]) for name in spec.network.x_categoricals}
        self._status_codes = self._codes[STATUS].of(STATUSES) if STATUS in self._codes else None
        derived = [split_name(name, spec.targets) for name in spec.network.x_reals]
        self._summary_kinds = {
            target: [kind for kind in SUMMARIES if (target, kind) in derived] for target in spec.targets
        }
        self._ahead = np.arange(1, spec.max_prediction_length + 1)

    def warm_rows(self, snapshot: WindowSnapshot) -> IntArray:
        """Rows of the servers that can be forecast.

        A server is warm if at least `required_samples` slots of its encoder have a measurement of any of the model's
        metrics. Servers with a label unknown to a network that has no class for unknown labels are left out.
        """
        samples = np.empty(len(snapshot.servers), dtype=np.int64)
        for some in portions(len(samples)):
            samples[some] = np.count_nonzero(self._histories.sampled(snapshot, snapshot.values[some]), axis=1)
        return self.choose_warm(snapshot, samples)

    def choose_warm(self, snapshot: WindowSnapshot, samples: IntArray) -> IntArray:
        """As `warm_rows`, from precomputed sample counts (servers,) within the encoder."""
        return np.flatnonzero((samples >= required_samples(self._spec)) & self._readable(snapshot))

    def build(self, snapshot: WindowSnapshot, rows: IntArray) -> Inputs:
        """Inputs for these rows of the snapshot, at least one, all of them warm."""
        return self._build(self._histories.cut(snapshot, rows))

    def build_whole(self, snapshot: WindowSnapshot, rows: IntArray, *, values: Tensor, statuses: Tensor) -> Inputs:
        """As `build`, on any device, for rows that all have a sample in the oldest slot of the encoder.

        values (rows, slots, metrics): the model's metrics in the newest slots, as many as it reads back, NaN where not
        measured; statuses (rows, slots): uint8.
        """
        return self._build(self._histories.take_whole(snapshot, rows, values=values, statuses=statuses))

    def columns(self, snapshot: WindowSnapshot) -> list[int]:
        """Indices of the model's metrics in the window. Raises ValueError if the window cannot serve this model."""
        return self._histories.columns(snapshot)

    @property
    def calendar(self) -> tuple[str, ...]:
        """Names of the calendar inputs that the network reads."""
        return tuple(name for name in self._spec.network.x_reals if name in CALENDAR)

    def history_of(self, snapshot: WindowSnapshot, row: int) -> Tensor:
        """(past, metrics): one warm server's values as the network sees them, gaps filled, newest slot last."""
        history = self._histories.cut(snapshot, np.array([row]))
        return history.values[0, : int(history.lengths[0])]

    def build_variants(
        self, snapshot: WindowSnapshot, row: int, histories: Tensor, *, calendar_shares: Tensor
    ) -> Inputs:
        """Inputs for one server with altered pasts, differentiable in both tensors.

        histories (versions, past, metrics). calendar_shares (versions, len(self.calendar)): 1 keeps an input as it is,
        0 moves it to the centre of its circle.
        """
        known = self._histories.cut(snapshot, np.array([row]))
        inputs = self._build(known.vary(histories))
        columns = [self._spec.network.x_reals.index(name) for name in self.calendar]
        middles = torch.tensor([float(self._scaled(name, torch.zeros(1))) for name in self.calendar])
        shares = calendar_shares[:, None]  # (versions, 1, calendar)
        for reals in (inputs.encoder_cont, inputs.decoder_cont):
            reals[..., columns] = middles + shares * (reals[..., columns] - middles)
        return inputs

    def _build(self, history: History) -> Inputs:
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
            past=HistoryInputs(history.values, history.lengths, torch.tensor([history.last_slot])),
        )

    def _readable(self, snapshot: WindowSnapshot) -> BoolArray:
        """(servers,): True if every label of the server has a code."""
        readable = np.ones(len(snapshot.servers), dtype=np.bool_)
        for name, labels in (("server_name", snapshot.servers), ("profile", snapshot.profiles)):
            if name in self._codes:
                readable &= self._codes[name].of(labels) != _UNREADABLE
        if self._status_codes is not None and _UNREADABLE in self._status_codes:
            for some in portions(len(readable)):
                statuses = snapshot.statuses[some, -self._spec.max_encoder_length :]
                readable[some] &= (self._status_codes[statuses] != _UNREADABLE).all(axis=1)
        return readable

    def _normalize_targets(self, history: History) -> dict[str, Normalized]:
        return {
            target: normalize(
                self._spec.target_normalizers[target],
                history.values[..., column],
                lengths=history.lengths,
                servers=history.servers,
            )
            for column, target in enumerate(self._spec.targets)
        }

    def _categoricals(self, history: History) -> tuple[Tensor, Tensor]:
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

    def _reals(self, history: History, targets: Mapping[str, Normalized]) -> tuple[Tensor, Tensor]:
        """Scaled numbers of encoder and horizon, (servers, steps, len(x_reals))."""
        servers, encoder = history.values.shape[:2]
        summaries = self._summaries(history, targets)
        past, future = [], []
        for name in self._spec.network.x_reals:
            if name in targets:
                columns = targets[name].values, _UNKNOWN
            elif name in self._spec.metrics:
                columns = self._scaled(name, history.values[..., self._spec.metrics.index(name)]), _UNKNOWN
            elif name in summaries:
                columns = (self._scaled(name, summaries[name]),) * 2
            else:
                known_past, known_future = self._known(name, history, targets)
                columns = self._scaled(name, known_past), self._scaled(name, known_future)
            past.append(columns[0])
            future.append(columns[1])
        device = history.values.device
        return _side_by_side(past, servers, encoder, device), _side_by_side(future, servers, len(self._ahead), device)

    def _summaries(self, history: History, targets: Mapping[str, Normalized]) -> dict[str, Tensor]:
        """Summaries of the encoder by the names of their inputs, (servers, 1)."""
        found: dict[str, Tensor] = {}
        for column, target in enumerate(self._spec.targets):
            if kinds := self._summary_kinds[target]:
                values = transform(self._spec.target_normalizers[target], history.values[..., column])
                summaries = summarise(
                    values,
                    lengths=history.lengths,
                    scale=targets[target].input_scale[:, 1:],
                    interval_seconds=self._spec.interval_seconds,
                    kinds=kinds,
                )
                found |= {f"{target}_{kind}": summary for kind, summary in summaries.items()}
        return found

    def _known(self, name: str, history: History, targets: Mapping[str, Normalized]) -> tuple[Tensor, Tensor]:
        """An input known for encoder and horizon; both shapes broadcast to (servers, steps)."""
        if name in CALENDAR:
            return self._calendar(name, history.slots), self._calendar(name, history.last_slot + self._ahead)
        if name == RELATIVE_TIME:
            past = torch.from_numpy(history.slots - history.last_slot - 1)
            future = torch.from_numpy(self._ahead - 1)
            return past / self._spec.max_encoder_length, future / self._spec.max_encoder_length
        if name == ENCODER_LENGTH:
            longest = self._spec.max_encoder_length
            static = (history.lengths.double() - 0.5 * longest) / longest * 2
        elif derived := split_name(name, self._spec.targets):
            return self._lagged(*derived, history, targets)
        else:
            target, _, part = name.rpartition("_")
            static = targets[target].input_scale[:, SCALE_SUFFIXES.index(f"_{part}")]
        return static[:, None], static[:, None]

    def _lagged(
        self, target: str, kind: str, history: History, targets: Mapping[str, Normalized]
    ) -> tuple[Tensor, Tensor]:
        """A target's own values some time before each step, as `_known`."""
        normalizer, column = self._spec.target_normalizers[target], self._spec.targets.index(target)
        last, scale = transform(normalizer, history.values[:, -1:, column]), targets[target].input_scale[:, 1:]
        lagged = history.lagged[kind]
        future = relate(transform(normalizer, lagged.future[..., column]), last=last, scale=scale)
        if lagged.past is None:
            return _UNKNOWN, future
        return relate(transform(normalizer, lagged.past[..., column]), last=last, scale=scale), future

    def _calendar(self, name: str, slots: IntArray) -> Tensor:
        """Computed once per slot and shared by all servers."""
        first = slots.min()
        once = calendar_input(
            name,
            np.arange(first, slots.max() + 1),
            interval_seconds=self._spec.interval_seconds,
            calendar=self._spec.calendar,
        )
        return torch.from_numpy(once[slots - first])

    def _scaled(self, name: str, values: Tensor) -> Tensor:
        scaler = self._spec.real_scalers.get(name)
        return values if scaler is None else (values.double() - scaler.center) / scaler.scale


def _side_by_side(columns: Sequence[Tensor], servers: int, steps: int, device: torch.device) -> Tensor:
    """(servers, steps, columns), float32; each column's shape broadcasts to (servers, steps).

    Neighbours of one shape are written together: single columns of wide rows take the processor most of its time.
    """
    rows = torch.empty(servers, steps, len(columns), device=device)
    first = 0
    for _, group in groupby(columns, key=lambda column: (column.shape, column.device)):
        together = torch.stack([column.float() for column in group], dim=-1)
        rows[..., first : first + together.shape[-1]] = together.to(device)
        first += together.shape[-1]
    return rows
