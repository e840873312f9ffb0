"""The entries of servers in an answer, written from arrays: `api.predictions.ServerForecast`, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import orjson

from nordiq_watch.api.enums import Level, Trend
from nordiq_watch.json_rows.steps import Comma, Literal, Number, NumberList, Step, When, Words, Written
from nordiq_watch.json_rows.writer import write_rows
from nordiq_watch.live.columns import FleetColumns, Shown, Verdicts, round_shown, show
from nordiq_watch.metrics import describe
from nordiq_watch.quantiles import SERVED
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray

DISPLAY_METRICS = {"cpu": "cpu_user_pct", "memory": "mem_used_pct"}

STEADY_WITHIN = 1.0
"""A displayed metric that changes by at most this much, in its unit, is called steady."""

METRIC_FIELDS = ("current", *SERVED, "trend")
SERVER_FIELDS = ("display_metrics", "profile", "labels", "model_version", "risk_score", "alert")
FIELDS = (*METRIC_FIELDS, *SERVER_FIELDS)
"""What an entry may have: of each metric, and of the server; in their order."""

_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Look:
    """How a level is displayed."""

    color: str
    emoji: str
    label: str


LOOKS = {
    Level.HEALTHY: Look("green", "🟢", "Healthy"),
    Level.DEGRADED: Look("yellow", "🟡", "Degraded"),
    Level.WARNING: Look("orange", "🟠", "Warning"),
    Level.CRITICAL: Look("red", "🔴", "Critical"),
}


@dataclass(frozen=True, slots=True)
class Detail:
    """How much of an entry is written. metrics: None for all; fields: of FIELDS."""

    metrics: frozenset[str] | None = None
    fields: frozenset[str] = frozenset(FIELDS)

    def has(self, metric: str) -> bool:
        return self.metrics is None or metric in self.metrics


EVERYTHING = Detail()


def write_in_pieces(columns: FleetColumns, rows: IntArray | None = None, *, detail: Detail) -> Iterator[Written]:
    """The entries of these rows, or of all, with their names and commas between: the inside of `predictions`.

    Some hundred servers at a time: what others wait for, such as the interpreter's lock, is never held for long.
    """
    count = len(columns.servers) if rows is None else len(rows)
    for begin in range(0, count, _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, count)
        part = np.arange(begin, end) if rows is None else rows[begin:end]
        written = _write(columns, part, detail)
        yield written if begin == 0 else Written(b"," + written.text, written.ends + 1)


def _write(columns: FleetColumns, rows: IntArray, detail: Detail) -> Written:
    names = [orjson.dumps(columns.servers[row]) for row in rows.tolist()]
    return write_rows(list(_steps_of_entry(columns, rows, names, detail)), len(rows))


def _steps_of_entry(columns: FleetColumns, rows: IntArray, names: Sequence[bytes], detail: Detail) -> Iterator[Step]:
    shown = show(columns, rows)
    yield Comma()
    yield Words(names)
    yield Literal(b":{")
    for column, metric in enumerate(columns.metrics):
        if detail.has(metric):
            yield from _steps_of_metric(columns, shown, column, detail.fields)
    if "display_metrics" in detail.fields:
        yield from _steps_of_display(columns, shown, detail)
    if "profile" in detail.fields:
        yield from (Comma(), Literal(b'"profile":'))
        yield Words([orjson.dumps(profile) for profile in columns.profiles], columns.profile_codes[rows])
    if "labels" in detail.fields and columns.label_codes is not None:
        codes, texts = columns.label_codes[rows], [orjson.dumps(dict(labels)) for labels in columns.labels]
        has_any = np.array([bool(labels) for labels in columns.labels], dtype=np.bool_)[codes]
        yield When(has_any, [Comma(), Literal(b'"labels":'), Words(texts, codes)])
    if "model_version" in detail.fields:
        yield from (Comma(), Literal(b'"model_version":'))
        yield Words([orjson.dumps(version) for version in columns.versions], columns.version_codes[rows])
    if columns.verdicts is not None:
        yield from _steps_of_verdict(columns.verdicts, rows, detail.fields)
    yield Literal(b"}")


# --- a metric -----------------------------------------------------------------------------------------------------


def _steps_of_metric(columns: FleetColumns, shown: Shown, column: int, fields: frozenset[str]) -> Iterator[Step]:
    """Of one that is not forecast, `current` alone, where it was measured."""
    metric, current = columns.metrics[column], shown.current[:, column]
    alone = ~np.isnan(current)
    if metric in columns.targets:
        target = columns.targets.index(metric)
        known = shown.is_forecast[:, target]
        alone &= ~known
        values = {name: step for name, step in _steps_of_values(shown, current, target) if name in fields}
        if values:
            yield When(known, list(_object(metric, values)))
    if "current" in fields:
        yield When(alone, list(_object(metric, {"current": Number(current)})))


def _steps_of_values(shown: Shown, current: FloatArray, target: int) -> Iterator[tuple[str, Step]]:
    yield "current", Number(current)
    for position, name in enumerate(SERVED):
        yield name, NumberList(shown.quantiles[:, target, position])
    yield "trend", Number(shown.trend[:, target])


def _object(name: str, values: dict[str, Step]) -> Iterator[Step]:
    """A field whose value is an object with these fields."""
    yield Comma()
    opening = orjson.dumps(name) + b":{"
    for field, value in values.items():
        yield Literal(opening + orjson.dumps(field) + b":")
        yield value
        opening = b","
    yield Literal(b"}")


# --- what is displayed --------------------------------------------------------------------------------------------


def _steps_of_display(columns: FleetColumns, shown: Shown, detail: Detail) -> Iterator[Step]:
    yield from (Comma(), Literal(b'"display_metrics":{'))
    for name, metric in DISPLAY_METRICS.items():
        if metric in columns.targets and metric in columns.metrics and detail.has(metric):
            current = shown.current[:, columns.metrics.index(metric)]
            target = columns.targets.index(metric)
            yield from _steps_of_displayed(
                name,
                current=current,
                predicted=shown.quantiles[:, target, 1, -1],
                known=shown.is_forecast[:, target] & ~np.isnan(current),
                unit=describe(metric).unit,
            )
    yield Literal(b"}")


def _steps_of_displayed(
    name: str, *, current: FloatArray, predicted: FloatArray, known: BoolArray, unit: str
) -> Iterator[Step]:
    delta = round_shown(predicted - current)
    steady = np.abs(delta) <= STEADY_WITHIN
    words = [orjson.dumps(word) for word in (Trend.STEADY, Trend.RISING, Trend.FALLING)]
    values: dict[str, Step] = {
        "current": Number(current),
        "predicted": Number(predicted),
        "delta": Number(delta),
        "unit": Literal(orjson.dumps(unit)),
        "trend": Words(words, np.where(steady, 0, np.where(delta > 0, 1, 2))),
    }
    yield When(known, list(_object(name, values)))


# --- risk ---------------------------------------------------------------------------------------------------------


def _steps_of_verdict(verdicts: Verdicts, rows: IntArray, fields: frozenset[str]) -> Iterator[Step]:
    """`risk_score` and `alert`; both null if no metric is scored."""
    scores, levels = verdicts.scores[rows], verdicts.levels[rows].astype(np.int64)
    known = ~np.isnan(scores)
    if "risk_score" in fields:
        yield from (Comma(), Literal(b'"risk_score":'), Number(scores))
    if "alert" in fields:
        begin = [b'{"level":%b,"score":' % orjson.dumps(level) for level in LOOKS]
        end = [b"," + orjson.dumps(asdict(look))[1:] for look in LOOKS.values()]
        written = (Words(begin, levels), Number(scores), Words(end, levels))
        yield from (Comma(), Literal(b'"alert":'))
        yield When(known, list(written))
        yield When(~known, [Literal(b"null")])
