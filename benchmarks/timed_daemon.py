"""The daemon with a stopwatch on each stage of a tick: `timed_daemon.py FILE PARTS PYTHON -m nordiq_watch serve …`.

It does what the command behind PARTS says, in this process, with some methods wrapped before. Whenever a tick ends,
FILE gets a line of JSON: when it began, its stages, and what threads beside it did since the line before. Of each stage
the seconds by the clock and of the processor, without those of the stages within it.

PARTS: a file that on SIGUSR1 says what the memory is made of (memory_parts.py); then a line of FILE has the highest
resident memory in each stage, too. `-` for none.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
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
    "forecast.maker:scale_bands": "bands",
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
        self._stages: list[str] = []  # of the tick that runs, the innermost last
        self._ticking = 0  # the thread that it runs in
        self.peaks: Callable[[], Mapping[str, int]] = dict

    def stage_now(self) -> str | None:
        """The stage in which the tick is; None between ticks."""
        return self._stages[-1] if self._stages else None

    def wrap(self, stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(run)
        def timed(*args: Any, **named: Any) -> Any:
            outer: list[list[float]] = self._here.__dict__.setdefault("outer", [])
            within = [0.0, 0.0]
            outer.append(within)
            in_tick = stage == TICK or (bool(self._stages) and threading.get_ident() == self._ticking)
            if in_tick:
                self._ticking = threading.get_ident()
                self._stages.append(stage)
            began, wall, cpu = time.time(), time.perf_counter(), time.thread_time()
            try:
                return run(*args, **named)
            finally:
                spent = (time.perf_counter() - wall, time.thread_time() - cpu)
                outer.pop()
                if in_tick:
                    self._stages.pop()
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
            line["peaks"] = dict(self.peaks())
            file.write(json.dumps(line) + "\n")
            self._sums = {}


def time_stages(file: Path, parts: Path | None) -> None:
    """Raises AttributeError if a stage is not where it was: then STAGES is to be put right."""
    watch = Stopwatch(file)
    for place, stage in STAGES.items():
        module, _, path = place.partition(":")
        owner: Any = import_module(f"nordiq_watch.{module}")
        *owners, name = path.split(".")
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, watch.wrap(stage, getattr(owner, name)))
    if parts is not None:
        from memory_parts import Peaks, write_parts

        watch.peaks = Peaks(watch.stage_now).take
        _when_built(lambda daemon: signal.signal(signal.SIGUSR1, lambda *_: write_parts(daemon, parts)))


def _when_built(act: Callable[[Any], object]) -> None:
    """Once the daemon is put together, with it."""
    from nordiq_watch.daemon import Daemon

    build = Daemon.__init__

    def build_and_act(daemon: Daemon, settings: Any) -> None:
        build(daemon, settings)
        act(daemon)

    setattr(Daemon, "__init__", build_and_act)  # noqa: B010 - a type checker would rather not see it


if __name__ == "__main__":
    from nordiq_watch.cli.main import main

    _, stages_file, parts_file, _, _, _, *arguments = sys.argv
    time_stages(Path(stages_file), None if parts_file == "-" else Path(parts_file))
    sys.exit(main(arguments))
