"""How long after a change under models/ the reload worker has a job: with the daemon's own watcher and queue, on a real
file system, without the rest of the daemon. Beside it, in the same run, a bare watchdog observer: the physical limit.

Two changes are made: a finished directory is renamed in, and the last byte of a version that is written in place.
"""

from __future__ import annotations

import argparse
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from common import Column, Report, Row, Target, median, percentile, run_benchmark, tell
from matplotlib.figure import Figure
from support.daemon import wait_until
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from nordiq_watch.artifact.layout import REQUIRED_FILES
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.reload.watcher import Mode, Watcher

POLLING_SECONDS = 1.0
"""The watcher's own; the bare observer is given the same."""
INOTIFY_QUIET_SECONDS = 0.05
POLLING_QUIET_SECONDS = 1.3 * POLLING_SECONDS
PATIENCE_SECONDS = 10.0
INOTIFY_TARGET_MS = 20.0


class Listener(Protocol):
    """Hears of changes under `models_dir`."""

    name: str
    models_dir: Path

    def hear(self, timeout: float) -> bool:
        """Waits for the next word of a change; False when the time is over."""

    def stop(self) -> None: ...


class ReloadJobs:
    """The watcher of the daemon. Hears in the place of the reload worker: it takes jobs from the queue."""

    name = "nordiq_watch"

    def __init__(self, models_dir: Path, mode: Mode) -> None:
        self.models_dir = models_dir
        self._queue = ReloadQueue(wall_clock=time.time)
        self._watcher = Watcher(models_dir, self._queue, mode=mode, rescan_seconds=3600, clock=time.monotonic)
        self._thread = threading.Thread(target=self._watcher.run)
        self._thread.start()
        wait_until(lambda: self._watcher.active_mode, what="the watcher to begin")
        if self._watcher.active_mode != mode:
            self.stop()
            raise RuntimeError(f"this machine does not let the watcher use {mode}")

    def hear(self, timeout: float) -> bool:
        return self._queue.take(timeout) is not None

    def stop(self) -> None:
        self._watcher.stop()
        self._thread.join()


class BareObserver(FileSystemEventHandler):
    """watchdog and nothing else."""

    name = "bare watchdog"

    def __init__(self, models_dir: Path, mode: Mode) -> None:
        self.models_dir = models_dir
        self._events: queue.SimpleQueue[FileSystemEvent] = queue.SimpleQueue()
        self._observer: BaseObserver = Observer() if mode == "inotify" else PollingObserver(timeout=POLLING_SECONDS)
        self._observer.schedule(self, str(models_dir), recursive=True)
        self._observer.start()

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._events.put(event)

    def hear(self, timeout: float) -> bool:
        try:
            self._events.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join()


# --- the changes --------------------------------------------------------------------------------------------------

Change = Callable[[], None]


def prepare_rename(models_dir: Path, name: str) -> Change:
    """A finished directory outside of the watched one; the change is its rename into it."""
    staged = models_dir.with_name("staged") / name
    staged.mkdir(parents=True)
    for file_name in REQUIRED_FILES:
        (staged / file_name).write_bytes(b"some bytes")

    def rename() -> None:
        staged.rename(models_dir / name)

    return rename


def prepare_last_byte(models_dir: Path, name: str) -> Change:
    """A directory that is written in place; the change is its very last byte."""
    directory = models_dir / name
    directory.mkdir()
    for file_name in REQUIRED_FILES:
        (directory / file_name).write_bytes(b"some byte")
    last = directory / REQUIRED_FILES[-1]

    def write_last_byte() -> None:
        with last.open("ab", buffering=0) as file:
            file.write(b"s")

    return write_last_byte


CHANGES = {"rename": prepare_rename, "last byte": prepare_last_byte}


# --- measuring ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pace:
    """repeats: of each change. quiet_seconds: after so much silence, nothing more is heard of what was before.

    phase_seconds: each change comes up to so much later, so that polling is met at any moment between two looks.
    """

    mode: Mode
    repeats: int
    quiet_seconds: float
    phase_seconds: float


FULL = (Pace("inotify", 200, INOTIFY_QUIET_SECONDS, 0.0), Pace("poll", 12, POLLING_QUIET_SECONDS, POLLING_SECONDS))
QUICK = tuple(replace(pace, repeats=repeats) for pace, repeats in zip(FULL, (30, 3), strict=True))


def measure_pace(pace: Pace, root: Path, chance: random.Random) -> list[Row]:
    """A row for each change and listener. The listeners take turns, so that both have the same machine."""
    listeners: list[Listener] = []
    measured: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        for kind in (ReloadJobs, BareObserver):
            listeners.append(kind(_make(root / pace.mode / kind.__name__ / "models"), pace.mode))
            stack.callback(listeners[-1].stop)
        for repeat in range(pace.repeats):
            for change, listener in product(CHANGES, listeners):
                name = f"tft_model_{change.replace(' ', '_')}_{repeat}"
                seconds = measure_change(listener, CHANGES[change](listener.models_dir, name), pace, chance)
                measured.setdefault((change, listener.name), []).append(seconds)
    return [
        {
            "mode": pace.mode,
            "change": change,
            "listener": name,
            "repeats": len(seconds),
            "median_ms": 1000 * median(seconds),
            "p99_ms": 1000 * percentile(seconds, 99),
            "max_ms": 1000 * max(seconds),
            "all_ms": [round(1000 * one, 4) for one in seconds],
        }
        for (change, name), seconds in measured.items()
    ]


def _make(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


def measure_change(listener: Listener, change: Change, pace: Pace, chance: random.Random) -> float:
    """Seconds from the change to the first word of it. RuntimeError if nothing is heard."""
    while listener.hear(pace.quiet_seconds):
        pass
    time.sleep(chance.uniform(0, pace.phase_seconds))
    changed_at = time.monotonic()
    change()
    if not listener.hear(PATIENCE_SECONDS):
        raise RuntimeError(f"{listener.name} heard nothing of a change within {PATIENCE_SECONDS:g} s")
    return time.monotonic() - changed_at


def measure(options: argparse.Namespace) -> Report:
    chance = random.Random(0)
    rows: list[Row] = []
    with TemporaryDirectory(prefix="nordiq-detect-") as directory:
        for pace in QUICK if options.quick else FULL:
            tell(f"{pace.mode}, {pace.repeats} of each change")
            rows += measure_pace(pace, Path(directory), chance)
    return Report(rows, judge(rows), TABLES, draw=lambda figure: draw(figure, rows))


# --- reporting ----------------------------------------------------------------------------------------------------

TABLES: dict[str, list[Column]] = {
    "Change → reload job (ms)": [
        ("mode", "mode"),
        ("change", "change"),
        ("listener", "heard by"),
        ("repeats", "repeats"),
        ("median_ms", "median"),
        ("p99_ms", "p99"),
        ("max_ms", "max"),
    ]
}


def judge(rows: Sequence[Row]) -> list[Target]:
    return [
        Target(f"{row['change']} → queued, {row['mode']}, median ms", row["median_ms"], INOTIFY_TARGET_MS)
        for row in rows
        if (row["mode"], row["listener"]) == ("inotify", ReloadJobs.name)
    ]


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """The share of changes that were heard of within so many milliseconds."""
    figure.set_size_inches(9, 5)
    axes = figure.subplots()
    for row in rows:
        style = "-" if row["listener"] == ReloadJobs.name else ":"
        axes.ecdf(row["all_ms"], linestyle=style, label=f"{row['mode']}, {row['change']}, {row['listener']}")
    axes.axvline(INOTIFY_TARGET_MS, color="tab:orange", linewidth=0.8, label="target of the inotify medians")
    axes.set(xlabel="ms after the change", ylabel="share that was heard of", xscale="log")
    axes.legend(fontsize="small")


if __name__ == "__main__":
    run_benchmark(measure, __doc__, name="detect")
