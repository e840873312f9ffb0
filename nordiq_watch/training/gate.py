"""The gate at the drop: a version that is worse than repeating the last value is not dropped.

It is judged as the daemon would serve it: the exported model, by the daemon's own predictor, on validation windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path

import numpy as np
from torch import Tensor

from nordiq_watch.artifact.comparison import describe_comparison
from nordiq_watch.artifact.reader import read_model
from nordiq_watch.metrics import describe
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.arrays import DoubleArray, FloatArray
from nordiq_watch.records.models import RawTensor
from nordiq_watch.spec import Comparison, ModelSpec, TargetErrors
from nordiq_watch.training.baselines import last_value, true_values
from nordiq_watch.training.replay import Replay, forecast_p50

MAX_RELATIVE_ERROR = 1.02
"""Largest error relative to last value's that is dropped."""

NEGLIGIBLE_SHARE = 0.001
"""Errors up to this share of a metric's width count as equal: for a constant metric, last value's error is zero."""

_MUST_AGREE = ("interval_seconds", "max_encoder_length", "max_prediction_length")


@dataclass(frozen=True, slots=True)
class Contender:
    """A version that can forecast, by its name."""

    name: str
    spec: ModelSpec
    predictor: Predictor


def build_contender(
    spec: ModelSpec, tensors: Mapping[str, Tensor], extras: Mapping[str, Tensor] | None = None
) -> Contender:
    """The version that is about to be dropped; tensors as in `export_model`, float32 on the CPU.

    extras: those of extras.safetensors, where the spec names extras.
    """
    predictor = Predictor(spec, _raw(tensors), device="cpu", extras=_raw(extras or {}))
    return Contender("this version", spec, predictor)


def read_contender(directory: Path) -> Contender:
    """A version from disk. Raises what `artifact.reader.read_model` and `Predictor` raise."""
    files = read_model(directory)
    predictor = Predictor(files.spec, files.weights.tensors, device="cpu", extras=files.extra_tensors)
    return Contender(directory.name, files.spec, predictor)


@dataclass(frozen=True, slots=True)
class Beside:
    """The newest version's p50 on the same windows, or why there is none."""

    name: str
    errors: DoubleArray | None = None
    skipped: str | None = None


def compare(model: Contender, newest: Contender | None, replay: Replay, *, p50: FloatArray | None = None) -> Comparison:
    """The model's errors beside last value's and the newest version's, on the windows of `replay`.

    p50 (windows, steps, targets): what the model forecasts of them, where that is known already.
    """
    targets = model.spec.targets
    truth, last = _look_up(replay, targets, steps=model.spec.max_prediction_length)
    if p50 is None:
        p50 = forecast_p50(model.predictor, model.spec, replay, targets=targets)
    errors = mean_errors(p50, truth)
    last_errors = mean_errors(last, truth)
    negligible = negligible_errors(targets, truth)
    relative = relative_error(errors, last_errors, negligible)
    beside = None if newest is None else _try(newest, model.spec, replay, truth)
    newest_errors = None if beside is None else beside.errors
    return Comparison(
        windows=len(replay.origins),
        beside_last_value=_finite(relative),
        passed=relative is None or relative <= MAX_RELATIVE_ERROR,
        newest=beside.name if beside else None,
        beside_newest=None if newest_errors is None else _finite(relative_error(errors, newest_errors, negligible)),
        newest_skipped=beside.skipped if beside else None,
        targets=_describe(targets, errors, last_errors, newest_errors),
    )


def relative_error(errors: DoubleArray, benchmark: DoubleArray, negligible: DoubleArray) -> float | None:
    """The mean over targets of the mean absolute error relative to a benchmark's; all three arrays (targets,).

    RelMAE = MAE / MAE of the benchmark (Hyndman and Koehler, "Another look at measures of forecast accuracy",
    International Journal of Forecasting 22, 2006, section 3.4), in which the targets' units cancel. Both errors are at
    least `negligible`: 1 if both are smaller. A target that the benchmark has no error for, and one without a width, is
    left out; None if none is left.
    """
    beside = np.maximum(benchmark, negligible)
    known = np.isfinite(beside) & (beside > 0)
    return float(np.mean(np.maximum(errors, negligible)[known] / beside[known])) if known.any() else None


def mean_errors(forecast: FloatArray, truth: FloatArray) -> DoubleArray:
    """(windows, steps, targets) → (targets,): the mean of |y - f| over windows and steps with a true value.

    NaN for a target without one; infinite where a forecast is missing or not finite.
    """
    known = ~np.isnan(truth)
    errors = np.abs(truth.astype(np.float64) - forecast)
    errors = np.where(known, np.where(np.isfinite(errors), errors, np.inf), 0.0)
    counts = known.sum(axis=(0, 1))
    means: DoubleArray = np.where(counts > 0, errors.sum(axis=(0, 1)) / np.maximum(counts, 1), np.nan)
    return means


def negligible_errors(targets: Sequence[str], truth: FloatArray) -> DoubleArray:
    """(targets,): NEGLIGIBLE_SHARE of each metric's range or, where that is open, of its mean absolute true value.

    truth (windows, steps, targets). Zero for an open-ended metric that was always zero or never measured.
    """
    widths = []
    for column, metric in enumerate(map(describe, targets)):
        values = np.abs(truth[..., column], dtype=np.float64)
        mean = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        widths.append(mean if metric.is_open_ended else metric.high - metric.low)
    return NEGLIGIBLE_SHARE * np.array(widths)


def report_comparison(comparison: Comparison) -> Iterator[str]:
    """Lines for people."""
    figures = describe_comparison(comparison)
    if figures:
        yield f"error of p50 in validation: {figures}"
    if comparison.newest_skipped:
        yield f"not compared with {comparison.newest}: {comparison.newest_skipped}"


def explain_refusal(comparison: Comparison) -> str:
    """Why the gate refused a version, with both figures, overall and for its worst target."""
    if comparison.beside_last_value is None:
        return "the model's p50 is not finite in the validation windows"
    worst = max(comparison.targets, key=lambda target: _ratio(comparison.targets[target]))
    errors, unit = comparison.targets[worst], describe(worst).unit
    return (
        f"the model is worse than last value: the mean absolute error of its p50 in validation is "
        f"{comparison.beside_last_value:.3f} times last value's, at most {MAX_RELATIVE_ERROR} is allowed "
        f"(worst: {worst}, {errors.model:.3g} {unit} against {errors.last_value:.3g} {unit})"
    )


def _ratio(errors: TargetErrors) -> float:
    return errors.model / errors.last_value if errors.model and errors.last_value else 0.0


def _try(newest: Contender, spec: ModelSpec, replay: Replay, truth: FloatArray) -> Beside:
    """The newest version on the same windows, unless it is another kind of model than `spec`."""
    misfit = find_misfit(newest.spec, spec)
    if misfit:
        return Beside(newest.name, skipped=misfit)
    errors = mean_errors(forecast_p50(newest.predictor, newest.spec, replay, targets=spec.targets), truth)
    if np.isinf(errors).any():
        return Beside(newest.name, skipped="it does not forecast all of these windows")
    return Beside(newest.name, errors=errors)


def find_misfit(newest: ModelSpec, spec: ModelSpec) -> str | None:
    """The first difference because of which two versions cannot be compared on the same windows."""
    for key in _MUST_AGREE:
        there, here = getattr(newest, key), getattr(spec, key)
        if there != here:
            return f"its {key} is {there}, the new version's {here}"
    for key in ("metrics", "targets"):
        there, here = set(getattr(newest, key)), set(getattr(spec, key))
        if there != here:
            return f"its {key} differ in {', '.join(sorted(there ^ here))}"
    return None


def _look_up(replay: Replay, targets: Sequence[str], *, steps: int) -> tuple[FloatArray, FloatArray]:
    """Truth and last value of each window, (windows, steps, targets)."""
    columns = [replay.metrics.index(target) for target in targets]
    truth = replay.pick(partial(true_values, steps=steps), steps=steps)
    last = replay.pick(partial(last_value, steps=steps), steps=steps)
    return truth[..., columns], last[..., columns]


def _describe(
    targets: Sequence[str], errors: DoubleArray, last: DoubleArray, newest: DoubleArray | None
) -> dict[str, TargetErrors]:
    return {
        target: TargetErrors(
            model=_finite(float(errors[k])),
            last_value=_finite(float(last[k])),
            newest=None if newest is None else _finite(float(newest[k])),
        )
        for k, target in enumerate(targets)
    }


def _raw(tensors: Mapping[str, Tensor]) -> dict[str, RawTensor]:
    """Copies: the predictor computes in place of what it is given."""
    return {
        name: RawTensor("F32", tuple(tensor.shape), memoryview(bytearray(tensor.numpy().tobytes())))
        for name, tensor in tensors.items()
    }


def _finite(number: float | None) -> float | None:
    """JSON has no other numbers."""
    return number if number is not None and isfinite(number) else None
