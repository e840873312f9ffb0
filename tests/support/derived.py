"""Derived inputs computed the slow way, one by one from the samples, and put into the library's own inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
import torch
from pytorch_forecasting.data.encoders import EncoderNormalizer, MultiNormalizer

from nordiq_watch.network.calendar import CALENDAR
from nordiq_watch.network.derived_inputs import LAGS, lag_inputs, summary_inputs
from nordiq_watch.network.forward import Way
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.export import export_model
from support.library import ENCODER, HORIZON, METRICS, Fleet, Reference, as_double, live_fleet, reference, stacked
from support.networks import parse_weights, weights_file

DAY_SECONDS = 86_400
CARRIED = 12


class SlowInputs:
    """One server's derived inputs in plain Python, from the samples of its whole window: NaN where not measured."""

    def __init__(self, fleet: Fleet, row: int, *, past_kinds: Sequence[str] = ()) -> None:
        window = fleet.window()
        self._values = window.values[row].astype(np.float64)
        self._metrics = fleet.metrics
        self._interval_seconds = fleet.interval_seconds
        self._past_kinds = past_kinds
        width = len(self._values)
        sampled = ~np.isnan(self._values[-ENCODER:]).all(axis=1)
        self._begin = width - len(sampled) + int(sampled.argmax())

    @property
    def length(self) -> int:
        return len(self._values) - self._begin

    def of(self, target: str, kind: str) -> tuple[list[float], list[float]]:
        """The input in each slot of the encoder, of its own length, and in each of the horizon."""
        column = self._values[:, self._metrics.index(target)]
        encoder = fill(column[self._begin :])
        last = encoder[-1]
        scale = float(np.std(encoder, ddof=1)) + float(np.finfo(np.float32).eps)
        if kind in LAGS:
            steps = range(self._begin, len(column) + HORIZON)
            values = [self._lagged(column, kind, step) for step in steps]
            related = [0.0 if value is None else limit((value - last) / scale) for value in values]
            return related[: self.length], related[self.length :]
        static = limit(self._summary(kind, encoder) / scale)
        return [static] * self.length, [static] * HORIZON

    def _lagged(self, column: np.ndarray, kind: str, step: int) -> float | None:
        lag = {"day_before": 1, "week_before": 7}[kind] * round(DAY_SECONDS / self._interval_seconds)
        oldest = len(column) - lag - (ENCODER if kind in self._past_kinds else 0)
        wanted = step - lag
        for place in range(wanted, wanted - CARRIED - 1, -1):
            if place >= len(column) or place < max(0, oldest):
                return None
            if not math.isnan(column[place]):
                return float(column[place])
        return None

    def _summary(self, kind: str, encoder: Sequence[float]) -> float:
        name, _, span = kind.partition("_")
        hours = {"1h": 1, "6h": 6, "encoder": math.inf}[span]
        count = min(max(1, hours * 3600 / self._interval_seconds), len(encoder))
        newest = encoder[-round(count) :]
        if name == "mean":
            return math.fsum(newest) / len(newest) - encoder[-1]
        mean = math.fsum(newest) / len(newest)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in newest) / len(newest))


def limit(value: float) -> float:
    return min(max(value, -10.0), 10.0)


def fill(column: Sequence[float]) -> list[float]:
    """Each gap with the measurement before it, or the first one."""
    filled: list[float] = []
    before = next(value for value in column if not math.isnan(value))
    for value in column:
        before = before if math.isnan(value) else float(value)
        filled.append(before)
    return filled


@dataclass
class DerivedCase:
    """A network of the library that reads derived inputs, and a window of a fleet with gaps before the encoders.

    past, ahead: kinds of lags that its encoder and its decoder read.
    """

    interval_seconds: int
    slots: int
    past: tuple[str, ...]
    ahead: tuple[str, ...]
    targets: tuple[str, ...] = METRICS
    network: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def reference(self) -> Reference:
        lags, summaries = lag_inputs(self.targets, self.ahead), summary_inputs(self.targets)
        normalizers = [EncoderNormalizer(max_length=[1, ENCODER], transformation="relu") for _ in self.targets]
        in_encoder = [*CALENDAR, "relative_time_idx", *lag_inputs(self.targets, self.past)]
        return reference(
            targets=self.targets,
            normalizer=MultiNormalizer(normalizers) if len(normalizers) > 1 else normalizers[0],
            dataset={
                "time_varying_known_reals": [*CALENDAR, *lags],
                "static_reals": summaries,
                "scalers": dict.fromkeys((*lags, *summaries)),
            },
            network={"allowed_encoder_known_variable_names": in_encoder} | self.network,
        )

    @cached_property
    def fleet(self) -> Fleet:
        """Some servers are young, some have gaps, all before or at the beginning of the encoder."""
        fleet = live_fleet(unknown=True, short=True, slots=self.slots)
        before = self.slots - ENCODER
        begins = [(0, before - 20, before + 5, 30)[row % 4] for row in range(len(fleet.servers))]
        values = fleet.values.copy()
        chance = np.random.default_rng(5)
        for row in range(0, len(values), 2):
            for start in chance.integers(0, before, size=self.slots // 12):
                values[row, start : min(start + int(chance.integers(1, 20)), before)] = np.nan
        return replace(fleet, values=values, begins=tuple(begins), interval_seconds=self.interval_seconds)

    @cached_property
    def spec(self) -> ModelSpec:
        return self.files[0]

    @cached_property
    def files(self) -> tuple[ModelSpec, bytes]:
        spec, tensors = export_model(
            self.reference.model,
            self.reference.dataset,
            interval_seconds=self.interval_seconds,
            metrics=self.targets,
            fill_values={},
            created_at="2025-01-30T14:30:00Z",
            training_config={},
        )
        return msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec), weights_file(tensors)

    def predictor(self, way: Way) -> Predictor:
        return Predictor(self.spec, parse_weights(self.files[1]), device="cpu", prefer=way)

    @cached_property
    def library_inputs(self) -> tuple[dict[str, Any], list[str]]:
        """The library's own inputs of the window's end, with derived ones by `SlowInputs`, and each row's server."""
        x, servers = self.reference.inputs(self.fleet.until(self.slots - 1, slots=ENCODER))
        reals = list(self.reference.dataset.reals)
        for row, server in enumerate(servers):
            slow = SlowInputs(self.fleet, self.fleet.servers.index(server), past_kinds=self.past)
            assert slow.length == int(x["encoder_lengths"][row])
            for target in self.targets:
                for kind in (*self.ahead, "mean_1h", "mean_6h", "mean_encoder", "spread_1h"):
                    past, future = slow.of(target, kind)
                    column = reals.index(f"{target}_{kind}")
                    x["encoder_cont"][row, : slow.length, column] = torch.tensor(past)
                    x["decoder_cont"][row, :, column] = torch.tensor(future)
        return x, servers

    def forecast(self, *, exactly: bool) -> Mapping[str, np.ndarray]:
        """Server → (targets, horizon, quantiles) by the library's network on these inputs, in float32 or in float64."""
        x, servers = self.library_inputs
        model = self.reference.model
        torch.set_default_dtype(torch.float64 if exactly else torch.float32)
        try:
            with torch.no_grad():
                output = (model.double() if exactly else model)(as_double(x) if exactly else x)["prediction"]
        finally:
            torch.set_default_dtype(torch.float32)
            model.float()
        return dict(zip(servers, stacked(output), strict=True))
