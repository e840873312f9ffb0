"""Draws an evaluation or a comparison into a PNG. matplotlib is an optional dependency: the extra `plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.errors import MissingPackage
from nordiq_watch.evaluation.report import Comparison, Evaluation, Score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {"model": "model", "live": "live", "a": "A", "b": "B", "last_value": "last value", "day_before": "day before"}
_COLOURS = {
    "model": "tab:blue",
    "live": "tab:orange",
    "a": "tab:orange",
    "b": "tab:blue",
    "last_value": "tab:gray",
    "day_before": "silver",
}
_INCHES_PER_METRIC = 2.6


def check_plotting() -> None:
    """Raises MissingPackage without matplotlib, before hours of evaluation rather than after them."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise MissingPackage("matplotlib", extra="plot") from None


def draw(report: Evaluation | Comparison, path: Path) -> None:
    """One row per metric: errors by horizon, coverage by horizon, errors by hour of the day. Raises OSError."""
    check_plotting()
    from matplotlib.figure import Figure

    metrics = list(dict.fromkeys(score.metric for score in report.scores))
    longest = max(score.horizon_seconds for score in report.scores)
    figure = Figure(figsize=(13, _INCHES_PER_METRIC * len(metrics) + 0.8), layout="constrained")
    grid = figure.subplots(len(metrics), 3, squeeze=False)
    for (errors, coverage, hours), metric in zip(grid, metrics, strict=True):
        own = [score for score in report.scores if score.metric == metric]
        _draw_errors(errors, [score for score in own if score.by == "all"])
        _draw_coverage(coverage, [score for score in own if score.by == "all" and score.coverage is not None])
        by_hour = [score for score in own if score.by == "hour" and score.horizon_seconds == longest]
        _draw_hours(hours, by_hour, zone=report.setting.zone)
        errors.set_ylabel(f"{metric}\nMAE")
    figure.suptitle(_title(report))
    grid[0][0].legend(fontsize="small")
    figure.savefig(path, format="png", dpi=110)


def _title(report: Evaluation | Comparison) -> str:
    versions = report.model.name if isinstance(report, Evaluation) else f"A {report.a.name}, B {report.b.name}"
    setting = report.setting
    return f"{versions}: {setting.origins} origins to {setting.last_origin}, {setting.servers} servers"


def _draw_errors(axes: Axes, scores: Sequence[Score]) -> None:
    """Bars side by side, a group for each horizon."""
    names = list(dict.fromkeys(score.forecast for score in scores))
    horizons = sorted({score.horizon_seconds for score in scores})
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        own = [score for score in scores if score.forecast == name]
        places = [horizons.index(score.horizon_seconds) + (number - (len(names) - 1) / 2) * width for score in own]
        axes.bar(places, [score.mae for score in own], width, label=_LABELS[name], color=_COLOURS[name])
    axes.set_xticks(range(len(horizons)), [f"{horizon / 3600:g} h" for horizon in horizons])
    axes.set_title("error up to", fontsize="small")


def _draw_coverage(axes: Axes, scores: Sequence[Score]) -> None:
    for name in dict.fromkeys(score.forecast for score in scores):
        own = [score for score in scores if score.forecast == name]
        hours = [score.horizon_seconds / 3600 for score in own]
        axes.plot(hours, [100 * (score.coverage or 0.0) for score in own], marker="o", color=_COLOURS[name])
    axes.set_xticks(sorted({score.horizon_seconds / 3600 for score in scores}))
    axes.axhline(80, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 100)
    axes.set_title("% in p10–p90, by hours ahead", fontsize="small")


def _draw_hours(axes: Axes, scores: Sequence[Score], *, zone: str) -> None:
    for name in dict.fromkeys(score.forecast for score in scores):
        own = [score for score in scores if score.forecast == name]
        axes.plot([int(score.of or 0) for score in own], [score.mae for score in own], color=_COLOURS[name])
    axes.set_xlim(0, 23)
    axes.set_ylim(bottom=0)
    axes.set_title(f"error by hour of the day ({zone}), longest horizon", fontsize="small")
