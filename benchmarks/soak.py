"""Does the daemon grow? Thousands of ticks into one real daemon, a new version live every fifty, clients reading
all the while; memory, threads and open files after each reload.

Every tick is one batch of the next slot of the grid, so the window moves on, the journal is pruned, days go to the
archive and forecasts come due, as in weeks of real time. Jobs come and go all the while, five new names a tick in a
window that is full, and eight connections without a key pipeline requests and read nothing. The first fifth of the run
is not counted: there, all that is allocated once is allocated.
"""

from __future__ import annotations

import argparse
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from common import Report, Row, Target, median, run_benchmark, tell
from matplotlib.figure import Figure
from support.daemon import DaemonProcess, wait_until
from support.drop_site import SECTIONS, Shelf
from support.hoard import Hoard, request
from support.models import METRICS, larger_spec

TICKS, QUICK_TICKS = 20_000, 1_000
RELOAD_EVERY = 50
SERVERS = 20
JOBS_A_TICK, JOB_TICKS = 5, 3
WINDOW_SLOTS, MAX_SERVERS = 100, 200
"""Full after forty ticks: from then on each new job takes the place of the one that is silent longest."""
SILENT_SECONDS = 1_500
INTERVAL_SECONDS = 300
STRANGERS = 8
UNREAD = request("GET", "/console/console.css") * 1_200
KEPT_VERSIONS = 3
NOT_COUNTED_SHARE = 0.2
LAST_SHARE = 0.2
GROWTH_TARGET = 0.05
MEGABYTE = 1e6


LASTING = [f"ppdb{server:03}" for server in range(SERVERS)]


class Reading(threading.Thread):
    """Asks for the forecast of the fleet and the metrics until stopped, and counts what was not answered."""

    def __init__(self, daemon: DaemonProcess) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self._stopping = threading.Event()
        self.answers = 0
        self.failures = 0

    def run(self) -> None:
        while not self._stopping.wait(0.05):
            for path in ("/predictions/current", "/metrics", "/ready", "/admin/models"):
                self.failures += not self._daemon.request("GET", path).ok
                self.answers += 1

    def stop(self) -> None:
        self._stopping.set()
        self.join()


class Strangers(threading.Thread):
    """Connections without a key that pipeline requests and read no answer; hung up on, they come again."""

    def __init__(self, daemon: DaemonProcess) -> None:
        super().__init__(daemon=True)
        host, _, port = daemon.url.removeprefix("http://").partition(":")
        self._address = (host, int(port))
        self._stopping = threading.Event()
        self.connections = 0

    def run(self) -> None:
        while not self._stopping.is_set():
            with Hoard(self._address, count=STRANGERS, payload=UNREAD) as hoard:
                self.connections += STRANGERS
                while hoard.cut_off < STRANGERS and not self._stopping.wait(1.0):
                    hoard.send()

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def batches(ticks: int) -> Iterator[list[Row]]:
    """One slot after the other, the last of them now: of the lasting servers, and of jobs that live for a few ticks."""
    first = time.time() - ticks * INTERVAL_SECONDS
    for tick in range(ticks):
        begun = range(max(0, tick - JOB_TICKS + 1), tick + 1)
        yield [
            {
                "timestamp": first + tick * INTERVAL_SECONDS,
                "server_name": name,
                "cpu_user_pct": 40.0 + (tick * 7 + server) % 11,
                "mem_used_pct": 60.0 + (tick * 3 + server) % 7,
            }
            for server, name in enumerate([*LASTING, *(f"job-{at}-{n}" for at in begun for n in range(JOBS_A_TICK))])
        ]


def drop_next(daemon: DaemonProcess, shelf: Shelf, dropped: list[Path]) -> None:
    """Waits until it is live; what is old is deleted, as `models.keep` would."""
    made = shelf.make(spec=larger_spec())
    target = daemon.models / made.name
    made.path.rename(target)
    daemon.wait_for_live(made.name)
    dropped.append(target)
    while len(dropped) > KEPT_VERSIONS:
        shutil.rmtree(dropped.pop(0))


def look_at(daemon: DaemonProcess, tick: int, began: float) -> Row:
    assert daemon.process is not None
    process = Path(f"/proc/{daemon.process.pid}")
    return {
        "tick": tick,
        "seconds": time.monotonic() - began,
        "resident_mb": daemon.resident_bytes() / MEGABYTE,
        "threads": len(list((process / "task").iterdir())),
        "files": len(list((process / "fd").iterdir())),
    }


def soak(root: Path, ticks: int) -> tuple[list[Row], Reading, Strangers, int]:
    """One row after each reload; who else was there; and how many new names found no room."""
    rows: list[Row] = []
    dropped: list[Path] = []
    refused = 0
    window = {"length": WINDOW_SLOTS, "max_servers": MAX_SERVERS, "silent_seconds": SILENT_SECONDS}
    with DaemonProcess(root / "site", metrics=METRICS, **{**SECTIONS, "window": window}) as daemon:
        shelf, began = Shelf(root / "shelf"), time.monotonic()
        reading, strangers = Reading(daemon), Strangers(daemon)
        for tick, records in enumerate(batches(ticks), 1):
            refused += daemon.feed(records).get("servers_refused", 0)
            if tick == 1:
                drop_next(daemon, shelf, dropped)
                reading.start()
                strangers.start()
            if tick % RELOAD_EVERY == 0:
                drop_next(daemon, shelf, dropped)
                rows.append(look_at(daemon, tick, began))
                if tick % (20 * RELOAD_EVERY) == 0:
                    tell(f"{tick:,} ticks, {rows[-1]['seconds']:.0f} s, {rows[-1]['resident_mb']:.1f} MB")
        reading.stop()
        strangers.stop()
        wait_until(lambda: daemon.get("/status")["tick_count"] == ticks, what="all ticks to be counted")
        tracked = daemon.get("/status")["servers_tracked"]
        assert tracked == MAX_SERVERS, f"the window was not full: {tracked} servers"
        missing = set(LASTING) - daemon.predictions()["predictions"].keys()
        assert not missing, f"lasting servers have no forecast: {sorted(missing)}"
    return rows, reading, strangers, refused


def grown(rows: Sequence[Row], field: str) -> tuple[float, float, float]:
    """The median after the begin, the median at the end, and by which share the second is larger."""
    begin, last = int(len(rows) * NOT_COUNTED_SHARE), max(1, int(len(rows) * LAST_SHARE))
    before = median([row[field] for row in rows[begin : begin + last]])
    after = median([row[field] for row in rows[-last:]])
    return before, after, after / before - 1


def measure(options: argparse.Namespace) -> Report:
    ticks = QUICK_TICKS if options.quick else options.ticks
    with TemporaryDirectory() as place:
        rows, reading, strangers, refused = soak(Path(place), ticks)
    summary: list[Row] = [
        {"what": what, "unit": unit, "before": before, "after": after, "growth": f"{share:+.1%}"}
        for what, unit, (before, after, share) in (
            ("resident memory", "MB", grown(rows, "resident_mb")),
            ("threads", "", grown(rows, "threads")),
            ("open files", "", grown(rows, "files")),
        )
    ]
    summary.append({"what": "reloads", "unit": "", "before": "", "after": len(rows), "growth": ""})
    summary.append({"what": "ticks", "unit": "", "before": "", "after": ticks, "growth": ""})
    summary.append({"what": "answers to readers", "unit": "", "before": "", "after": reading.answers, "growth": ""})
    summary.append(
        {"what": "connections of strangers", "unit": "", "before": "", "after": strangers.connections, "growth": ""}
    )
    columns = [
        ("what", "what"),
        ("unit", "unit"),
        ("before", "after a fifth"),
        ("after", "at the end"),
        ("growth", "growth"),
    ]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([row["tick"] for row in rows], [row["resident_mb"] for row in rows])
        axes.set(xlabel="ticks", ylabel="resident memory, MB", ylim=(0, None))
        axes.set_title(f"{ticks:,} ticks, a reload every {RELOAD_EVERY}")

    return Report(
        rows=[*summary, *rows],
        targets=[
            Target("growth of resident memory, share", grown(rows, "resident_mb")[2], GROWTH_TARGET),
            Target("growth of threads, share", grown(rows, "threads")[2], 0.0),
            Target("requests that were not answered", reading.failures, 0),
            Target("new servers that were refused", refused, 0),
        ],
        tables={"What a daemon is like after a fifth of the run and at its end": columns},
        draw=draw,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ticks", type=int, default=TICKS, help="default: %(default)s")


if __name__ == "__main__":
    run_benchmark(measure, __doc__.partition("\n\n")[0], name="soak", add_arguments=add_arguments)
