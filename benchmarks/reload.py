"""A new model is dropped while clients go on asking: do they notice, how soon is it live, what does it cost?

For each size and server: clients ask in a closed loop, a good version is renamed in, later a damaged one. Beside
nordiq_watch stand, in the same run, the least that any reload must do (floor.py) and what is usual (prior_art.py,
always in host memory).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from clients import Clients, Requests
from common import Column, Report, Row, Target, add_device, median, percentile, run_benchmark, tell
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from subjects import ANSWER_PATH, Daemon, Library, PriorArt, Subject, wait_for_answers_by, wait_until_dealt_with

CLIENTS = 4
BLOCKED_SECONDS = 0.25
"""A request that waits longer for its answer counts as blocked."""
SETTLE_SECONDS = 0.5
"""Not counted: the clients have just begun."""
AFTERMATH_SECONDS = 0.25
"""Counted to the reload: time after the first new answer in which the old model is put away."""
TARGET_SIZE = 245
MEGABYTE = 1e6


@dataclass(frozen=True)
class Floor:
    """Seconds of the least that a reload must do: alone on the machine, and beside the daemon's clients."""

    alone: dict[str, float]
    beside_clients: dict[str, float] | None


@dataclass(frozen=True)
class Pace:
    """repeats: whole runs a size. steady, rest: seconds of undisturbed traffic before and after each drop.

    floor_twice: the floor is also measured beside the clients.
    """

    sizes_mb: Sequence[int]
    repeats: int
    steady_seconds: float
    rest_seconds: float
    floor_twice: bool


FULL = Pace(sizes_mb=(5, TARGET_SIZE, 500), repeats=3, steady_seconds=8.0, rest_seconds=2.0, floor_twice=True)
QUICK = Pace(sizes_mb=(5, TARGET_SIZE), repeats=1, steady_seconds=2.0, rest_seconds=0.5, floor_twice=False)


@dataclass(frozen=True, eq=False)
class Run:
    """What one server did in one run. Times are monotonic seconds, memory is resident bytes."""

    subject: str
    library: Library
    requests: Requests
    began_at: float
    dropped_at: float
    damaged_at: float
    ended_at: float
    steady_bytes: int
    peak_bytes: int
    stages: dict[str, float]

    @property
    def live_at(self) -> float:
        return self.requests.first_answer_by(self.library.third)

    @property
    def steady(self) -> Requests:
        return self.requests.between(self.began_at + SETTLE_SECONDS, self.dropped_at)

    @property
    def reloading(self) -> Requests:
        return self.requests.during(self.dropped_at, self.live_at + AFTERMATH_SECONDS)

    @property
    def refusing(self) -> Requests:
        """From the damaged drop until the server was done with it."""
        return self.requests.during(self.damaged_at, self.ended_at)


# --- measuring ----------------------------------------------------------------------------------------------------


def observe(subject: Subject, library: Library, pace: Pace, file: Path) -> Run:
    """One run on a server that answers by `library.second` already."""
    memory = Memory(subject.pid)
    with Clients(subject.url, ANSWER_PATH, key=subject.key, count=CLIENTS, file=file) as clients:
        began_at = time.monotonic()
        time.sleep(SETTLE_SECONDS + pace.steady_seconds)
        steady_bytes = memory.resident()
        memory.forget_peak()
        dropped_at = library.drop(library.third, subject.models)
        wait_for_answers_by(library.third, subject)
        time.sleep(pace.rest_seconds)
        peak_bytes = memory.peak()
        damaged_at = library.drop(library.damaged, subject.models)
        wait_until_dealt_with(library.damaged, subject)
        time.sleep(pace.rest_seconds)
        ended_at = time.monotonic()
        answered = clients.stop()
    stages = subject.stages(library.third)
    return Run(
        subject.name, library, answered, began_at, dropped_at, damaged_at, ended_at, steady_bytes, peak_bytes, stages
    )


class Memory:
    """A process's resident memory, from its /proc; `peak` is exact, not sampled."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    def resident(self) -> int:
        return self._read("VmRSS")

    def peak(self) -> int:
        """The most since `forget_peak`."""
        return self._read("VmHWM")

    def forget_peak(self) -> None:
        (self._proc / "clear_refs").write_text("5")

    def _read(self, field: str) -> int:
        lines = (self._proc / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure_floor(library: Library, device: str) -> dict[str, float]:
    """Seconds of each part, in a process of its own."""
    script = Path(__file__).with_name("floor.py")
    arguments = [sys.executable, str(script), str(library.directory / library.third), device]
    parts: dict[str, float] = json.loads(subprocess.run(arguments, check=True, stdout=subprocess.PIPE).stdout)
    return parts


def measure_floor_beside_clients(daemon: Daemon, library: Library, place: Path, device: str) -> dict[str, float]:
    with Clients(daemon.url, ANSWER_PATH, key=daemon.key, count=CLIENTS, file=place / "unused.npz"):
        return measure_floor(library, device)


def measure_once(library: Library, pace: Pace, place: Path, *, device: str, policy: str) -> tuple[Floor, list[Run]]:
    """The servers are up at the same time, which spares a start, but only one of them has work."""
    alone = measure_floor(library, device)
    ours_there = Daemon(place / "daemon", library, device=device, policy=policy)
    with PriorArt(place / "prior_art", library) as prior_art, ours_there as daemon:
        warm_up(daemon, library)
        ours = observe(daemon, library, pace, place / "daemon.npz")
        beside_clients = measure_floor_beside_clients(daemon, library, place, device) if pace.floor_twice else None
        warm_up(prior_art, library)
        theirs = observe(prior_art, library, pace, place / "prior_art.npz")
    return Floor(alone, beside_clients), [ours, theirs]


def warm_up(subject: Subject, library: Library) -> None:
    """A reload that is not measured: a server that runs for days has loaded before, and keeps a previous version."""
    wait_for_answers_by(library.first, subject)
    library.drop(library.second, subject.models)
    wait_for_answers_by(library.second, subject)


def measure(options: argparse.Namespace) -> Report:
    pace = QUICK if options.quick else FULL
    floors: dict[int, list[Floor]] = {}
    runs: list[Run] = []
    with TemporaryDirectory(prefix="nordiq-reload-") as directory:
        for megabytes in options.sizes or pace.sizes_mb:
            library = Library(Path(directory) / f"library-{megabytes}", megabytes)
            library.write()
            for repeat in range(options.repeats or pace.repeats):
                tell(f"{megabytes} MB, run {repeat + 1} of {options.repeats or pace.repeats}")
                place = Path(directory) / f"{megabytes}-{repeat}"
                floor, pair = measure_once(library, pace, place, device=options.device, policy=options.policy)
                floors.setdefault(megabytes, []).append(floor)
                runs += pair
        rows = [row for size, of_size in floors.items() for row in summarize_size(size, of_size, runs)]
    return Report(rows, judge(rows), TABLES, draw=lambda figure: draw(figure, runs))


# --- reporting ----------------------------------------------------------------------------------------------------


def summarize_size(megabytes: int, floors: Sequence[Floor], runs: Sequence[Run]) -> list[Row]:
    """One row a server and one for the floor. Medians over the runs; counts are added up, a max is the worst of all."""
    of_size = [run for run in runs if run.library.megabytes == megabytes]
    floor = median([sum(floor.alone.values()) for floor in floors])
    rows = [
        summarize_runs([run for run in of_size if run.subject == name], floor) for name in (Daemon.name, PriorArt.name)
    ]
    return [*rows, summarize_floor(megabytes, floors)]


def summarize_runs(runs: Sequence[Run], floor_seconds: float) -> Row:
    first = runs[0]

    def typical(measure: Callable[[Run], float]) -> float:
        return median([measure(run) for run in runs])

    def total(count: Callable[[Run], int]) -> int:
        return sum(count(run) for run in runs)

    live_seconds = typical(lambda run: run.live_at - run.dropped_at)
    extra_bytes = typical(lambda run: run.peak_bytes - run.steady_bytes)
    return {
        "size_mb": first.library.megabytes,
        "server": first.subject,
        "runs": len(runs),
        "requests": total(lambda run: len(run.requests)),
        "failed": total(lambda run: int((run.requests.status != 200).sum())),
        "blocked": total(lambda run: int((run.requests.seconds > BLOCKED_SECONDS).sum())),
        "by_damaged": total(lambda run: int((run.requests.version == run.library.damaged).sum())),
        "steady_p50_ms": typical(lambda run: 1000 * percentile(run.steady.seconds, 50)),
        **{
            f"{phase}_{name}": value
            for phase in ("steady", "reloading", "refusing")
            for name, value in summarize_phase([getattr(run, phase) for run in runs]).items()
        },
        "p99_ratio": typical(lambda run: percentile(run.reloading.seconds, 99) / percentile(run.steady.seconds, 99)),
        "drop_to_live_ms": 1000 * live_seconds,
        "times_floor": live_seconds / floor_seconds,
        **{f"stage_{stage}_ms": 1000 * median([run.stages[stage] for run in runs]) for stage in first.stages},
        "weights_mb": first.library.weight_bytes / MEGABYTE,
        "steady_mb": typical(lambda run: run.steady_bytes) / MEGABYTE,
        "extra_mb": extra_bytes / MEGABYTE,
        "times_weights": extra_bytes / first.library.weight_bytes,
    }


def summarize_phase(phases: Sequence[Requests]) -> Row:
    return {
        "p99_ms": median([1000 * percentile(phase.seconds, 99) for phase in phases]),
        "max_ms": max(1000 * float(phase.seconds.max()) for phase in phases),
        "gap_ms": max(1000 * phase.longest_gap for phase in phases),
    }


def summarize_floor(megabytes: int, floors: Sequence[Floor]) -> Row:
    parts = {f"{part}_ms": 1000 * median([floor.alone[part] for floor in floors]) for part in floors[0].alone}
    row = {
        "size_mb": megabytes,
        "server": "floor: read, hash, forward",
        "drop_to_live_ms": 1000 * median([sum(floor.alone.values()) for floor in floors]),
        **parts,
    }
    beside_clients = [sum(floor.beside_clients.values()) for floor in floors if floor.beside_clients is not None]
    return row | ({"beside_clients_ms": 1000 * median(beside_clients)} if beside_clients else {})


def judge(rows: Sequence[Row]) -> list[Target]:
    ours = [row for row in rows if row["server"] == Daemon.name]
    unanswered = sum(row["failed"] + row["blocked"] for row in ours)
    targets = [Target("failed or blocked requests, all sizes", unanswered, 0)]
    for row in ours:
        if row["size_mb"] == TARGET_SIZE:
            targets += [
                Target("p99 during the reload beside steady p99, times", row["p99_ratio"], 2),
                Target("longest answer during the reload, ms", row["reloading_max_ms"], 1000 * BLOCKED_SECONDS),
                Target("drop → live beside the floor, times", row["times_floor"], 2),
                Target("drop → live, ms (a tenth of the 5 s that users know)", row["drop_to_live_ms"], 500),
                Target("extra memory at the peak beside the new model's bytes, times", row["times_weights"], 1.2),
            ]
    return targets


_WHOSE: list[Column] = [("size_mb", "MB"), ("server", "server")]

TABLES = {
    "Answers (ms)": [
        *_WHOSE,
        ("requests", "requests"),
        ("failed", "failed"),
        ("blocked", "blocked"),
        ("by_damaged", "by the damaged version"),
        ("steady_p50_ms", "steady p50"),
        ("steady_p99_ms", "steady p99"),
        ("steady_max_ms", "steady max"),
        ("reloading_p99_ms", "reload p99"),
        ("reloading_max_ms", "reload max"),
        ("reloading_gap_ms", "longest silence"),
        ("refusing_p99_ms", "damaged p99"),
        ("refusing_max_ms", "damaged max"),
    ],
    "Drop → live (ms)": [
        *_WHOSE,
        ("drop_to_live_ms", "drop → live"),
        ("times_floor", "× floor"),
        *((f"{part}_ms", part) for part in ("read", "hash", "forward")),
        ("beside_clients_ms", "floor beside the clients"),
        *(
            (f"stage_{stage}_ms", stage)
            for stage in ("seen", "complete", "queued", "verified", "loaded", "canary", "live")
        ),
    ],
    "Resident memory (MB)": [
        *_WHOSE,
        ("weights_mb", "weights"),
        ("steady_mb", "steady"),
        ("extra_mb", "more at the peak"),
        ("times_weights", "× weights"),
    ],
}


def draw(figure: Figure, runs: Sequence[Run]) -> None:
    """Each answer of each size's first run: when it came, how long it took."""
    sizes = sorted({run.library.megabytes for run in runs})
    subjects = (Daemon.name, PriorArt.name)
    figure.set_size_inches(7 * len(subjects), 3.2 * len(sizes))
    grid = figure.subplots(len(sizes), len(subjects), sharex="row", sharey="row", squeeze=False)
    for axes_of_size, megabytes in zip(grid, sizes, strict=True):
        for axes, subject in zip(axes_of_size, subjects, strict=True):
            run = next(run for run in runs if (run.library.megabytes, run.subject) == (megabytes, subject))
            draw_run(axes, run)
    grid[0][-1].legend(loc="upper right", fontsize="small")


def draw_run(axes: Axes, run: Run) -> None:
    answered = run.requests.during(run.dropped_at - 2, run.ended_at)
    axes.scatter(answered.end - run.dropped_at, 1000 * answered.seconds, s=2, color="tab:gray", rasterized=True)
    axes.axvspan(0, run.live_at - run.dropped_at, color="tab:green", alpha=0.25, label="dropped → live")
    axes.axvline(run.damaged_at - run.dropped_at, color="tab:red", label="damaged version dropped")
    axes.axhline(1000 * BLOCKED_SECONDS, color="tab:orange", linewidth=0.8, linestyle=":", label="counts as blocked")
    axes.set(
        title=f"{run.subject}, {run.library.megabytes} MB",
        xlabel="seconds since the drop",
        ylabel="ms for an answer",
        yscale="log",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser)
    parser.add_argument("--policy", default="auto", help="reload.policy of the daemon (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="MB", help="instead of 5 245 500 (--quick: 5 245)")
    parser.add_argument("--repeats", type=int, metavar="N", help="runs of each size, instead of 3 (--quick: 1)")


if __name__ == "__main__":
    run_benchmark(measure, __doc__, name="reload", add_arguments=add_arguments)
