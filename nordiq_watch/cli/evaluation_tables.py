"""What `evaluate` and `compare` print: tables that fit into 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from nordiq_watch.cli.terminal import print_grid

if TYPE_CHECKING:
    from nordiq_watch.evaluation.report import Comparison, Difference, Evaluation, Score, Setting

_NOTHING = "–"
_VERDICTS = {"a": "A is better", "b": "B is better", "none": "not clear", "too_few_days": "too few days"}
_LOSSES = {"mae": "Mean absolute error", "pinball": "Pinball loss, mean of p10, p50 and p90"}
_MEANING = "Mean absolute error (MAE), pinball loss and the share in p10-p90"

Rows = Iterable[Sequence[str]]


class _Scores:
    """The scores of a report by what they are of."""

    def __init__(self, scores: Sequence[Score]) -> None:
        self._score: dict[tuple[str, int, str, str | None, str], Score]
        self._score = {(s.metric, s.horizon_seconds, s.by, s.of, s.forecast): s for s in scores}
        self.metrics = list(dict.fromkeys(score.metric for score in scores))
        self.horizons = sorted({score.horizon_seconds for score in scores})

    def groups(self, by: str) -> list[str]:
        """The groups of this kind, as they come in the report."""
        return list(dict.fromkeys(of for _, _, kind, of, _ in self._score if kind == by and of is not None))

    def find(self, metric: str, horizon: int, forecast: str, *, by: str = "all", of: str | None = None) -> Score | None:
        return self._score.get((metric, horizon, by, of, forecast))

    def cells(self, metric: str, horizon: int, others: Sequence[str], *, by: str, of: str | None) -> list[str] | None:
        """The columns from MAE on; None if there is no such score of the model."""
        model = self.find(metric, horizon, "model", by=by, of=of)
        if model is None:
            return None
        beside = [self.find(metric, horizon, other, by=by, of=of) for other in others]
        gains = [_NOTHING if other is None else _change(other.mae, model.mae) for other in beside]
        return [_number(model.mae), *gains, _number(model.pinball), _share(model.coverage)]


def print_evaluation(evaluation: Evaluation, *, by: Sequence[str], console: Console) -> None:
    """by: `profile` and `hour` add a table for each profile, and one of the hours for each metric."""
    scores = _Scores(evaluation.scores)
    others = {"last_value": "vs last", "day_before": "vs day", **({"live": "vs live"} if evaluation.live else {})}
    headings = ("MAE", *others.values(), "pinball", "p10-p90")
    _print_lines(console, [evaluation.model.name, *_describe(evaluation.setting)])
    if evaluation.live:
        _print_lines(console, [f"live: {evaluation.live.name}"])
    _print_lines(console, [*evaluation.notes, "", _MEANING])
    _print_table(("metric", "up to", *headings), _by_horizon(scores, list(others), "all", None), console)
    for profile in scores.groups("profile") if "profile" in by else ():
        _print_lines(console, ["", profile])
        _print_table(("metric", "up to", *headings), _by_horizon(scores, list(others), "profile", profile), console)
    for metric in scores.metrics if "hour" in by else ():
        _print_lines(
            console,
            ["", f"{metric}, up to {_duration(scores.horizons[-1])}, by hour of the day ({evaluation.setting.zone})"],
        )
        _print_table(("hour", *headings), _by_hour(scores, list(others), metric), console)


def print_comparison(comparison: Comparison, *, console: Console) -> None:
    """A table for each loss with the verdict on each difference, and one of the coverages."""
    _print_lines(console, [f"A: {comparison.a.name}", f"B: {comparison.b.name}", *_describe(comparison.setting)])
    _print_lines(console, comparison.notes)
    for loss, title in _LOSSES.items():
        rows = [_compared(each) for each in comparison.differences if each.loss == loss]
        _print_lines(console, ["", title])
        _print_table(("metric", "up to", "A", "B", "B vs A", "95 % interval", "verdict"), rows, console)
    _print_lines(console, ["", "Share of measurements in p10-p90; 80 % is right"])
    _print_table(("metric", "up to", "A", "B", "points"), _coverages(_Scores(comparison.scores)), console)
    _print_lines(console, ["", *_explain(comparison)])


def _by_horizon(scores: _Scores, others: Sequence[str], by: str, of: str | None) -> Iterator[Sequence[str]]:
    for metric in scores.metrics:
        for horizon in scores.horizons:
            cells = scores.cells(metric, horizon, others, by=by, of=of)
            if cells is not None:
                yield (metric, _duration(horizon), *cells)


def _by_hour(scores: _Scores, others: Sequence[str], metric: str) -> Iterator[Sequence[str]]:
    for hour in sorted(scores.groups("hour")):
        cells = scores.cells(metric, scores.horizons[-1], others, by="hour", of=hour)
        if cells is not None:
            yield (hour, *cells)


def _compared(each: Difference) -> Sequence[str]:
    interval = _NOTHING
    if each.low is not None and each.high is not None and each.a:
        interval = f"{each.low / each.a * 100:+.1f} to {each.high / each.a * 100:+.1f} %"
    numbers = (_number(each.a), _number(each.b), _change(each.a, each.b))
    return (each.metric, _duration(each.horizon_seconds), *numbers, interval, _VERDICTS[each.verdict])


def _coverages(scores: _Scores) -> Iterator[Sequence[str]]:
    for metric in scores.metrics:
        for horizon in scores.horizons:
            a, b = (scores.find(metric, horizon, name) for name in ("a", "b"))
            if a is not None and b is not None:
                yield (metric, _duration(horizon), _share(a.coverage), _share(b.coverage), f"{a.points:,}")


def _explain(comparison: Comparison) -> Iterator[str]:
    tested = [each for each in comparison.differences if each.verdict != "too_few_days"]
    if not tested:
        yield "Too few days to tell chance from a difference: at least 3 whole days are needed, 7 are better."
        return
    yield f"A t-test on the mean differences of {tested[0].days} days, at the 5 % level."
    if len(tested) >= 20:  # one of them is expected to be called better by chance
        yield f"Of {len(tested)} equal pairs, about {len(tested) * 0.05:.0f} would be called different by chance."


def _describe(setting: Setting) -> Iterator[str]:
    yield (
        f"{setting.dataset}: {setting.servers:,} servers, {setting.origins:,} origins, "
        f"one every {_duration(setting.every_seconds)}"
    )
    yield f"from {setting.first_origin} to {setting.last_origin}"


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True)


def _print_table(headings: Sequence[str], rows: Rows, console: Console) -> None:
    """Words to the left, numbers to the right."""
    table = Table(box=None, pad_edge=False)
    words = ("metric", "verdict", "hour")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    print_grid(table, console)


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _number(value: float) -> str:
    return f"{value:.3f}" if value < 100 else f"{value:,.0f}"


def _change(reference: float, value: float) -> str:
    return f"{(value / reference - 1) * 100:+.1f}%" if reference else _NOTHING


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.0%}"
