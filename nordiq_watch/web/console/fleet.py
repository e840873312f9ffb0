"""The fleet for the console's heat map: a few bytes per server, so that thousands fit into one small answer.

A value becomes one byte: 0 to 250 for 0 to the metric's `scale`, 255 for unknown. Time becomes buckets: the mean of the
slots in each.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nordiq_watch.alerting.thresholds import ThresholdTable, score_values
from nordiq_watch.api import console as api
from nordiq_watch.api.enums import Level
from nordiq_watch.api.servers import Maintenance
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.metrics import describe, shown_profile
from nordiq_watch.quantiles import MEDIAN
from nordiq_watch.records.arrays import DoubleArray, IntArray
from nordiq_watch.records.forecasts import Forecasting

PAST_BUCKETS = 36
FUTURE_BUCKETS = 12
NOT_KNOWN = 255
FULL = 250

RISK = "risk"
HIGHEST_RISK = 100.0

_SHOWN_ALERTS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """One metric of all forecast servers over time, in its unit: past and future are (servers, buckets)."""

    name: str
    past: DoubleArray
    future: DoubleArray


def describe_fleet(
    made: Forecasting, answer: Answer, table: ThresholdTable, maintenance: Mapping[str, Maintenance]
) -> api.FleetView:
    """The drawn parts of a forecast, of its window, and of the answer made from it.

    The first metric is the score of the worst one by `table`: for measurements and for the forecast median.
    """
    assert answer.metadata is not None  # it has a model
    forecast, snapshot = made.forecast, made.snapshot
    profiles = [shown_profile(snapshot.profiles[row]) for row in forecast.rows]
    labels = [snapshot.labels_of(server) for server in forecast.servers]
    interval, length = snapshot.interval_seconds, snapshot.values.shape[1]
    past = bucket_edges(length, PAST_BUCKETS)
    future = bucket_edges(forecast.values.shape[2], FUTURE_BUCKETS)
    courses = _average_targets(made, past=past, future=future)
    limits = table.of(profiles, labels)
    risks, levels = describe_verdicts(answer)
    label_sets, label_codes = code_labels(labels)
    alerts = [] if answer.fleet is None else answer.fleet.alerts
    return api.FleetView(
        servers=forecast.servers,
        profiles=profiles,
        label_sets=label_sets,
        label_codes=label_codes,
        risks=risks,
        levels=levels,
        past=((snapshot.last_slot - length + 1 + past) * interval).tolist(),
        future=((forecast.origin_slot + 1 + future) * interval).tolist(),
        metrics=[describe_course(course) for course in (*_score_courses(courses, limits, table), *courses)],
        cold=len(answer.cold),
        environment=None if answer.fleet is None else answer.fleet.environment,
        alerts=alerts[:_SHOWN_ALERTS],
        alert_count=len(alerts),
        maintenance=dict(maintenance),
        metadata=answer.metadata,
    )


def code_labels(labels: Sequence[Mapping[str, str]]) -> tuple[list[dict[str, str]], list[int]]:
    """The different ones, and which of them each is: fleets have few, and each would be sent for every server."""
    codes: dict[tuple[tuple[str, str], ...], int] = {}
    chosen = [codes.setdefault(tuple(sorted(one.items())), len(codes)) for one in labels]
    return [dict(items) for items in codes], chosen


def describe_verdicts(answer: Answer) -> tuple[list[float | None], list[Level | None]]:
    """The score and the level of each server; None where it has none."""
    if answer.columns is None or answer.columns.verdicts is None:
        return [None] * answer.count, [None] * answer.count
    verdicts = answer.columns.verdicts
    risks = [None if math.isnan(score) else score for score in verdicts.scores.tolist()]
    levels = zip(verdicts.levels.tolist(), risks, strict=True)
    return risks, [None if risk is None else Level.of_rank(rank) for rank, risk in levels]


def _average_targets(made: Forecasting, *, past: IntArray, future: IntArray) -> list[Course]:
    """past, future (buckets,): start of each bucket of the window and of the horizon.

    While nothing is forecast, of what is measured.
    """
    forecast, snapshot = made.forecast, made.snapshot
    if not forecast.targets:
        return _average_measured(made, past=past, buckets=len(future))
    return [
        Course(
            target,
            past=average(snapshot.values[forecast.rows, :, snapshot.metrics.index(target)], past),
            future=average(forecast.bands[:, column, :, MEDIAN], future),
        )
        for column, target in enumerate(forecast.targets)
    ]


def _average_measured(made: Forecasting, *, past: IntArray, buckets: int) -> list[Course]:
    rows, courses = made.forecast.rows, []
    nothing = np.full((len(rows), buckets), np.nan)
    for column, metric in enumerate(made.snapshot.metrics):
        measured = average(made.snapshot.values[rows, :, column], past)
        if np.isfinite(measured).any():
            courses.append(Course(metric, past=measured, future=nothing))
    return courses


def _score_courses(courses: Sequence[Course], limits: DoubleArray, table: ThresholdTable) -> list[Course]:
    """The highest score of any metric at each moment; nothing if none has thresholds."""
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


def describe_course(course: Course) -> api.Course:
    """As bytes. Metrics without an upper end are scaled to their largest value."""
    metric = describe(course.name)
    scale = HIGHEST_RISK if course.name == RISK else metric.high
    if course.name != RISK and metric.is_open_ended:
        known = np.concatenate([course.past, course.future], axis=1)
        scale = max(float(np.nanmax(known, initial=0.0)), 1e-6)
    return api.Course(
        name=course.name,
        unit=metric.unit,
        scale=scale,
        past=pack(course.past, scale),
        future=pack(course.future, scale),
    )


def bucket_edges(length: int, buckets: int) -> IntArray:
    """Start of each of at most `buckets` buckets over `length` slots."""
    count = min(length, buckets)
    edges: IntArray = np.arange(count) * length // count
    return edges


def average(values: NDArray[Any], edges: IntArray) -> DoubleArray:
    """values (servers, slots) → (servers, buckets): mean of the known values in each, NaN if there are none."""
    known = np.isfinite(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), edges, axis=1, dtype=np.float64)
    counts = np.add.reduceat(known, edges, axis=1, dtype=np.int64)
    means: DoubleArray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def pack(values: DoubleArray, scale: float) -> str:
    """(servers, buckets) → base64 with one byte each."""
    shares = np.clip(values / scale, 0.0, 1.0) * FULL
    packed = np.where(np.isfinite(values), np.round(np.nan_to_num(shares)), NOT_KNOWN).astype(np.uint8)
    return base64.b64encode(packed.tobytes()).decode("ascii")
