"""Models with extras, without training: the spec, tensors of the right shapes, and the stated forecast in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import torch

from nordiq_watch.network.terms.linear import linear_shapes
from nordiq_watch.network.terms.rows import rows_shapes
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.spec import EXTRAS_FORMAT_VERSION, Extras, ModelSpec
from support.networks import network_spec

Tensors = dict[str, torch.Tensor]


def with_extras(spec: ModelSpec | None = None, **changes: Any) -> ModelSpec:
    """The spec of a model with a linear member and a calibration. changes: fields of Extras."""
    spec = spec or network_spec()
    fields: dict[str, Any] = {"members": ("linear",), "slots": spec.max_encoder_length, "calibrated": True}
    return msgspec.structs.replace(spec, format_version=EXTRAS_FORMAT_VERSION, extras=Extras(**fields | changes))


def random_extras(spec: ModelSpec, *, seed: int = 0, hidden: int = 6, layers: int = 2) -> Tensors:
    """Tensors of its extras, drawn so that each of them matters to the forecast. hidden, layers: of the row network."""
    assert spec.extras is not None
    chance = np.random.default_rng(seed)
    targets, horizon, quantiles = len(spec.targets), spec.max_prediction_length, len(spec.quantiles)
    parts = chance.uniform(0.2, 1, (1 + len(spec.extras.members), targets, horizon))
    tensors = {"blend": parts / parts.sum(axis=0)}
    if spec.extras.calibrated:
        tensors["calibration"] = chance.uniform(0.5, 1.5, (targets, horizon, quantiles))
        tensors["calibration"][..., spec.quantiles.index(0.5)] = 1
    shapes = {"linear": linear_shapes(spec), "rows": rows_shapes(spec, hidden=hidden, layers=layers)}
    for member in spec.extras.members:
        tensors |= {name: _random(name, shape, chance) for name, shape in shapes[member].items()}
    return {name: torch.from_numpy(array.astype(np.float32)) for name, array in tensors.items()}


def state_forecast(
    spec: ModelSpec, tensors: Tensors, network: Any, past: Sequence[Any], *, last_slot: int
) -> DoubleArray:
    """The documented formula in float64, server by server.

    network (servers, targets, horizon, quantiles): what the library's network forecasts. past: of each server (slots,
    metrics), as many slots as it has, gaps filled, newest last.
    """
    assert spec.extras is not None
    exact = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    members = [np.asarray(network, dtype=np.float64)]
    for member in spec.extras.members:
        state = {"linear": state_linear, "rows": state_rows}[member]
        members.append(np.stack([state(spec, exact, values, last_slot=last_slot) for values in past]))
    mixed = np.sum([part[..., None] * member for part, member in zip(exact["blend"], members, strict=True)], axis=0)
    if spec.extras.calibrated:
        middle = mixed[..., [spec.quantiles.index(0.5)]]
        mixed = middle + exact["calibration"] * (mixed - middle)
    return np.sort(mixed, axis=-1)


def _random(name: str, shape: tuple[int, ...], chance: np.random.Generator) -> DoubleArray:
    if name.endswith(("floor", "scale")):
        return chance.uniform(0.01, 0.5, shape)
    return chance.normal(0, 0.1, shape)


class Past:
    """One server's targets as the documentation says: changes (targets, slots), newest first, last values, scales."""

    def __init__(self, spec: ModelSpec, past: Any, floors: DoubleArray) -> None:
        assert spec.extras is not None
        values = np.asarray(past, dtype=np.float64)[:, : len(spec.targets)]
        missing = max(0, spec.extras.slots - len(values))
        values = np.concatenate([np.repeat(values[:1], missing, axis=0), values])[-spec.extras.slots :][::-1].T
        self.last = values[:, 0]
        self.scales = values.std(axis=1) + 0.02 * np.abs(self.last) + floors
        self.changes = np.clip((values - values[:, :1]) / self.scales[:, None], -10, 10)
        self.summaries = np.stack([np.log(self.scales), np.log1p(np.abs(self.last))], axis=1)

    def restore(self, scaled: DoubleArray) -> DoubleArray:
        restored: DoubleArray = self.last[:, None, None] + self.scales[:, None, None] * scaled
        return restored

    def back(self, target: int, slots: int) -> float:
        """The change this number of slots back, or in the oldest slot."""
        return float(self.changes[target, min(slots, self.changes.shape[1]) - 1])

    def mean(self, target: int, slots: int) -> float:
        return float(self.changes[target, :slots].mean())


def day_angle(spec: ModelSpec, slot: int) -> float:
    return float(2 * np.pi * (slot * spec.interval_seconds % 86_400) / 86_400)


def state_linear(spec: ModelSpec, tensors: Mapping[str, DoubleArray], past: Any, *, last_slot: int) -> DoubleArray:
    """(targets, horizon, quantiles) of one server: docs/model-directory.md, word by word."""
    made = Past(spec, past, tensors["linear.floor"])
    angle = day_angle(spec, last_slot)
    shared: list[float] = []
    for target in range(len(spec.targets)):
        shared += [made.back(target, 2), made.back(target, 12), made.mean(target, 12), made.mean(target, 72)]
        shared += made.summaries[target].tolist()
    shared += [np.sin(angle), np.cos(angle)]
    scaled = [
        np.einsum("f,fhq->hq", np.concatenate([made.changes[target], shared]), tensors["linear.weight"][target])
        for target in range(len(spec.targets))
    ]
    return made.restore(np.stack(scaled) + tensors["linear.bias"])


def state_rows(spec: ModelSpec, tensors: Mapping[str, DoubleArray], past: Any, *, last_slot: int) -> DoubleArray:
    """(targets, horizon, quantiles) of one server: docs/model-directory.md, word by word."""
    made = Past(spec, past, tensors["rows.floor"])
    facts = [window_facts(made, target) for target in range(len(spec.targets))]
    scaled = np.empty((len(spec.targets), spec.max_prediction_length, len(spec.quantiles)))
    for target in range(len(spec.targets)):
        others = [facts[other] for other in range(len(facts)) if other != target]
        means = np.mean([[each[place] for place in (1, 5, 17, 20)] for each in others], axis=0) if others else [0.0] * 4
        of_window = np.array([*facts[target], *means])
        for step in range(spec.max_prediction_length):
            of_step = np.array(step_facts(spec, made, target, step, last_slot))
            scaled[target, step] = run_row(tensors, target, of_window, of_step)
    return made.restore(scaled)


def window_facts(made: Past, target: int) -> list[float]:
    lags = (2, 3, 4, 6, 9, 12, 18, 24, 36, 48, 72, 96, 144, 192, 288)
    facts = [made.back(target, lag) for lag in lags]
    facts += [made.mean(target, length) for length in (3, 6, 12, 24, 48, 72, 144, 288)]
    facts += [float(made.changes[target, :length].std()) for length in (12, 72)]
    return facts + list(made.summaries[target].tolist())


def step_facts(spec: ModelSpec, made: Past, target: int, step: int, last_slot: int) -> list[float]:
    """step: 0 for the first slot that is forecast."""
    day, ahead = round(86_400 / spec.interval_seconds), step + 1
    angle = day_angle(spec, last_slot + ahead)
    facts = [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    facts += [ahead / 96, np.sqrt(ahead / 96), np.exp(-ahead / 6), np.exp(-ahead / 24)]
    changes = made.changes[target]
    if day > len(changes):
        return facts
    place = day - 1 - step % day
    around = [changes[max(0, place - width) : place + width + 1].mean() for width in (3, 7)]
    then = changes[day - 1]
    return [changes[place], *around, changes[place] - then, changes[place:day].mean(), *facts]


def run_row(tensors: Mapping[str, DoubleArray], target: int, window: DoubleArray, step: DoubleArray) -> DoubleArray:
    """(quantiles,) in scales."""
    rows = {name.removeprefix("rows."): tensor for name, tensor in tensors.items() if name.startswith("rows.")}
    mine = {name: tensor[target] for name, tensor in rows.items() if not name.startswith(("inner", "gate"))}
    window = np.clip((window - mine["window_mean"]) / mine["window_scale"], -8, 8)
    step = np.clip((step - mine["step_mean"]) / mine["step_scale"], -8, 8)
    hidden = window @ mine["window_weight"] + step @ mine["step_weight"] + mine["bias"]
    for layer in range(len(rows["inner_weight"])):
        inner = hidden @ rows["inner_weight"][layer, target] + rows["inner_bias"][layer, target]
        active = np.where(inner > 0, inner, np.expm1(inner))
        gate = active @ rows["gate_weight"][layer, target] + rows["gate_bias"][layer, target]
        value, opening = np.split(gate, 2)
        hidden = hidden + value / (1 + np.exp(-opening))
    direct = window @ mine["window_skip"] + step @ mine["step_skip"] + mine["skip_bias"]
    forecast: DoubleArray = direct + hidden @ mine["output"]
    return forecast
