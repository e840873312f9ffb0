"""The daemon with a stopwatch on each stage of a tick: `timed_daemon.py FILE PYTHON -m nordiq_watch serve …`.

It does what the command behind FILE says, in this process, with some methods wrapped before. Whenever a tick ends,
FILE gets a line of JSON: when it began, its stages, and what threads beside it did since the line before. Of each stage
the seconds by the clock and of the processor, without those of the stages within it.
"""

from __future__ import annotations

import functools
import json
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

TICK = "tick"
STAGES = {
    "forecast.forecaster:Forecaster._answer_with": TICK,
    "ingest.window:Window.snapshot": "copy of the window",
    "network.features:Features.warm_rows": "warm servers",
    "network.features:Features.build": "inputs",
    "network.native:NativeForward.run": "forward",
    "network.predictor:Predictor.predict": "quantiles",
    "live.servable:make_bands": "bands",
    "live.servable:Servable.forecast": "names of the forecast servers",
    "forecast.forecaster:scale_bands": "bands",
    "alerting.evaluator:RiskEvaluator.assess": "risk",
    "ingest.window:Window.attendance": "attendance",
    "alerting.active_alerts:ActiveAlerts.update": "alerts",
    "alerting.evaluator:RiskEvaluator.__call__": "verdicts",
    "forecast.forecaster:Forecaster._serve": "answer",
    "quality.accuracy_tracker:AccuracyTracker.note": "accuracy",
    "quality.residuals:OneStepForecasts.step": "residuals",
    "quality.drift:DriftWatch.take": "drift",
    "quality.cascade:CascadeWatch.take": "cascades",
    "storage.history_writer:HistoryWriter.step": "history (its own thread)",
    "quality.accuracy_tracker:AccuracyTracker.step": "accuracy (its own thread)",
    "ingest.sample_store:SampleStore.store": "journal and window (its own thread)",
    "ingest.sample_store:SampleStore.checkpoint": "archive (its own thread)",
}
"""What is wrapped, and the stage that it is."""


class Stopwatch:
    """Sums of each stage since the last tick, for all threads."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._here = threading.local()
        self._sums: dict[str, list[float]] = {}

    def wrap(self, stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def timed(*args: Any, **named: Any) -> Any:
            outer: list[list[float]] = self._here.__dict__.setdefault("outer", [])
            within = [0.0, 0.0]
            outer.append(within)
            began, wall, cpu = time.time(), time.perf_counter(), time.thread_time()
            try:
                return run(*args, **named)
            finally:
                spent = (time.perf_counter() - wall, time.thread_time() - cpu)
                outer.pop()
                self._add(stage, [whole - inner for whole, inner in zip(spent, within, strict=True)])
                if outer:
                    outer[-1][:] = [sum(pair) for pair in zip(outer[-1], spent, strict=True)]
                if stage == TICK:
                    self._write(began, spent)

        return timed

    def _add(self, stage: str, spent: list[float]) -> None:
        with self._lock:
            sums = self._sums.setdefault(stage, [0.0, 0.0])
            sums[:] = [sum(pair) for pair in zip(sums, spent, strict=True)]

    def _write(self, began: float, spent: tuple[float, float]) -> None:
        with self._lock, self._file.open("a") as file:
            line = {"began": began, "seconds": spent[0], "cpu": spent[1], "stages": self._sums}
            file.write(json.dumps(line) + "\n")
            self._sums = {}


def time_stages(file: Path) -> None:
    """Raises AttributeError if a stage is not where it was: then STAGES is to be put right."""
    watch = Stopwatch(file)
    for place, stage in STAGES.items():
        module, _, path = place.partition(":")
        owner: Any = import_module(f"nordiq_watch.{module}")
        *owners, name = path.split(".")
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, watch.wrap(stage, getattr(owner, name)))


if __name__ == "__main__":
    from nordiq_watch.cli.main import main

    _, stages_file, _, _, _, *arguments = sys.argv
    time_stages(Path(stages_file))
    sys.exit(main(arguments))
