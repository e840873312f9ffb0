"""The fleet as the console draws it: every server in a few bytes, so that thousands fit into one small answer.

A value becomes one byte: 0 to 250 for 0 to the metric's `scale`, 255 for what is not known. Time becomes buckets: the
mean of the slots in each.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.forecast.thresholds import ThresholdTable, score_values
from nordiq_watch.metrics import describe
from nordiq_watch.records import DoubleArray, Forecasting, IntArray

PAST_BUCKETS = 36
FUTURE_BUCKETS = 12
NOT_KNOWN = 255
FULL = 250

RISK = "risk"
HIGHEST_RISK = 100.0

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One metric of all forecast servers over time, in its unit: past and future are (servers, buckets)."""

    name: str
    past: DoubleArray
    future: DoubleArray


def describe_fleet(made: Forecasting, predictions: Mapping[str, Entry], table: ThresholdTable) -> dict[str, Any]:
    """What is drawn of a forecast and of the window that it was made from; `predictions` has a server's other facts.

    Byte fields are base64 of (servers, buckets), row by row, in the order of `servers`. The first metric is the score
    of the worst one by `table`: of what was measured, and of the median that is forecast.
    """
    forecast, snapshot = made.forecast, made.snapshot
    row_by_name = {name: row for row, name in enumerate(snapshot.servers)}
    rows = [row_by_name[name] for name in forecast.servers]
    profiles = [snapshot.profiles[row] for row in rows]
    interval, length = snapshot.interval_seconds, snapshot.values.shape[1]
    past = bucket_edges(length, PAST_BUCKETS)
    future = bucket_edges(forecast.values.shape[2], FUTURE_BUCKETS)
    courses = _average_targets(made, rows, past=past, future=future)
    entries = [predictions.get(name, {}) for name in forecast.servers]
    return {
        "servers": forecast.servers,
        "profiles": profiles,
        "risks": [entry.get("risk_score") for entry in entries],
        "levels": [(entry.get("alert") or {}).get("level") for entry in entries],
        "past": ((snapshot.last_slot - length + 1 + past) * interval).tolist(),
        "future": ((forecast.origin_slot + 1 + future) * interval).tolist(),
        "metrics": [describe_course(course) for course in (*_score_courses(courses, profiles, table), *courses)],
    }


def _average_targets(made: Forecasting, rows: list[int], *, past: IntArray, future: IntArray) -> list[Course]:
    forecast, snapshot = made.forecast, made.snapshot
    median = forecast.quantiles.index(0.5)
    return [
        Course(
            target,
            past=average(snapshot.values[rows, :, snapshot.metrics.index(target)], past),
            future=average(forecast.values[:, column, :, median], future),
        )
        for column, target in enumerate(forecast.targets)
    ]


def _score_courses(courses: Sequence[Course], profiles: Sequence[str], table: ThresholdTable) -> list[Course]:
    """The highest score of the metrics at each moment; nothing if none of them has thresholds."""
    limits = table.of(profiles)
    scored = [
        (course, limits[:, table.metrics.index(course.name)]) for course in courses if course.name in table.metrics
    ]
    if not scored:
        return []
    past, future = (
        np.fmax.reduce([score_values(getattr(course, side), thresholds) for course, thresholds in scored])
        for side in ("past", "future")
    )
    return [Course(RISK, past, future)]


def describe_course(course: Course) -> dict[str, Any]:
    """As bytes. A metric without an upper end is scaled to the largest value."""
    metric = describe(course.name)
    scale = HIGHEST_RISK if course.name == RISK else metric.high
    if course.name != RISK and metric.is_open_ended:
        known = np.concatenate([course.past, course.future], axis=1)
        scale = max(float(np.nanmax(known, initial=0.0)), 1e-6)
    return {
        "name": course.name,
        "unit": metric.unit,
        "scale": scale,
        "past": pack(course.past, scale),
        "future": pack(course.future, scale),
    }


def bucket_edges(length: int, buckets: int) -> IntArray:
    """Where each of at most `buckets` buckets of `length` slots begins."""
    count = min(length, buckets)
    edges: IntArray = np.arange(count) * length // count
    return edges


def average(values: NDArray[Any], edges: IntArray) -> DoubleArray:
    """values (servers, slots) → (servers, buckets): the mean of what is known in each, NaN where nothing is."""
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges, axis=1, dtype=np.float64)
    counts = np.add.reduceat(known, edges, axis=1, dtype=np.int64)
    means: DoubleArray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def pack(values: DoubleArray, scale: float) -> str:
    """(servers, buckets) → base64 of one byte each."""
    shares = np.clip(values / scale, 0.0, 1.0) * FULL
    packed = np.where(np.isfinite(values), np.round(np.nan_to_num(shares)), NOT_KNOWN).astype(np.uint8)
    return base64.b64encode(packed.tobytes()).decode("ascii")
