"""How good a version is in validation: beside the naive forecasts, last value and the newest version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from nordiq_watch.spec import Comparison
from nordiq_watch.training.assembly import Assembled, describe_blend
from nordiq_watch.training.evaluation import Evaluation, score, to_table
from nordiq_watch.training.gate import compare, read_contender, report_comparison
from nordiq_watch.training.newest import read_newest
from nordiq_watch.training.replay import Replay


@dataclass(frozen=True, slots=True)
class Judgement:
    """Both are of the same validation windows."""

    evaluation: Evaluation
    comparison: Comparison


def judge_version(assembled: Assembled, replay: Replay, *, models_dir: Path, console: Console) -> Judgement:
    """Judges the version's forecasts of the validation windows that `replay` shows, and tells it."""

    def report(line: str) -> None:
        console.print(line, soft_wrap=True)

    if assembled.extras:
        report(f"shares of the forecast: {describe_blend(assembled)}")
    evaluation = score(assembled.quantiles.swapaxes(1, 2), replay, levels=assembled.contender.spec.quantiles)
    console.print(to_table(evaluation))
    newest = read_newest(models_dir, read_contender, report=report)
    comparison = compare(assembled.contender, newest, replay, p50=assembled.p50)
    for line in report_comparison(comparison):
        report(line)
    return Judgement(evaluation, comparison)
