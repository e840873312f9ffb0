"""Ten thousand pieces of garbage a second: how many arrive, and what they cost good requests.

Two processes offer nonsense to the real daemon, at a rate, while four clients read `/predictions/current` and one
feeds. Beside it, in the same run, the same flood against bare waitress, the HTTP server that the daemon is built on,
with an app that answers 404 at once and no good requests: what the HTTP server alone can do on this machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clients import Clients
from common import Report, Row, Target, median, percentile, run_benchmark, tell
from matplotlib.figure import Figure
from support.drop_site import Site, make_site, warm_fleet
from support.flood import Flood, Tally

RATES = (0, 1_000, 10_000)
FLOOD_SECONDS, QUICK_FLOOD_SECONDS = 8.0, 3.0
REPEATS, QUICK_REPEATS = 3, 1
READERS = 4
HIGHEST = max(RATES)
GROWTH_TARGET_MB = 50.0
SHORT_TARGET = 0.01
DAEMON, WAITRESS = "nordiq_watch", "bare waitress"

BARE = """
import socket, sys, waitress
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def app(environ, start_response):
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"none"]
waitress.serve(app, sockets=[listener], threads=8, connection_limit=1000, _quiet=True)
"""


@contextmanager
def bare_waitress() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


class Feeder(threading.Thread):
    """Sends a batch ten times a second until stopped, and counts what was not accepted."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._stopping = threading.Event()
        self.fed = self.failures = 0

    def run(self) -> None:
        while not self._stopping.wait(0.1):
            answer = self._site.daemon.request("POST", "/feed/data", json={"records": warm_fleet()})
            self.failures += not answer.ok
            self.fed += answer.ok

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def flood(url: str, rate: int, seconds: float) -> Tally:
    if rate == 0:
        time.sleep(seconds)
        return Tally(seconds=seconds, answered_seconds=seconds)
    return Flood(url, pieces=int(rate * seconds), per_second=rate).end()


def describe(server: str, rate: int, tally: Tally) -> Row:
    return {
        "server": server,
        "rate": rate,
        "offered": tally.offered / tally.seconds,
        "answered": tally.answers.total() / tally.answered_seconds,
        "given_up": tally.given_up,
    }


def run_daemon(site: Site, rate: int, seconds: float, file: Path) -> Row:
    """`failed`: good requests without a 200. `lost`: batches that were accepted and not counted."""
    before, memory = site.daemon.get("/status")["tick_count"], site.daemon.resident_bytes()
    feeder = Feeder(site)
    feeder.start()
    with Clients(site.daemon.url, "/predictions/current", key=site.daemon.key, count=READERS, file=file) as clients:
        tally = flood(site.daemon.url, rate, seconds)
        good = clients.stop()
    feeder.stop()
    return describe(DAEMON, rate, tally) | {
        "good": len(good) / (good.end[-1] - good.begin[0]),
        "p50_ms": median(good.seconds) * 1e3,
        "p99_ms": percentile(good.seconds, 99) * 1e3,
        "max_ms": float(good.seconds.max()) * 1e3,
        "failed": int((good.status != 200).sum()) + feeder.failures,
        "lost": before + feeder.fed - site.daemon.get("/status")["tick_count"],
        "grown_mb": (site.daemon.resident_bytes() - memory) / 1e6,
    }


def measure(options: argparse.Namespace) -> Report:
    seconds, repeats = (QUICK_FLOOD_SECONDS, QUICK_REPEATS) if options.quick else (FLOOD_SECONDS, REPEATS)
    runs: list[Row] = []
    with TemporaryDirectory() as root, make_site(Path(root)) as site, bare_waitress() as bare:
        for repeat in range(repeats):
            for rate in RATES:
                runs.append(run_daemon(site, rate, seconds, Path(root) / "clients.npz"))
                if rate:
                    runs.append(describe(WAITRESS, rate, flood(bare, rate, seconds)))
            tell(f"run {repeat + 1} of {repeats}")
    measured = [(DAEMON, rate) for rate in RATES] + [(WAITRESS, rate) for rate in RATES if rate]
    rows = [summarise(runs, server, rate) for server, rate in measured]
    worst = next(row for row in rows if (row["server"], row["rate"]) == (DAEMON, HIGHEST))
    short = max(0.0, 1 - worst["offered"] / HIGHEST)
    failed, lost = (sum(run.get(name, 0) for run in runs) for name in ("failed", "lost"))
    return Report(
        rows=rows,
        targets=[
            Target(f"share of {HIGHEST:,} pieces a second that could not be offered", short, SHORT_TARGET),
            Target("good requests that were not answered with 200", failed, 0),
            Target("batches that were accepted and lost", lost, 0),
            Target("growth of resident memory in one flood, MB", worst["grown_mb"], GROWTH_TARGET_MB),
        ],
        tables={
            f"Garbage for {seconds:g} s, medians of {repeats}; failed, lost: of all": [
                ("server", "server"), ("rate", "to offer"), ("offered", "offered / s"), ("answered", "answered / s"),
                ("good", "good requests / s"), ("p50_ms", "p50 ms"), ("p99_ms", "p99 ms"), ("max_ms", "longest ms"),
                ("failed", "failed"), ("lost", "lost"), ("grown_mb", "grown MB"),
            ]
        },
        draw=lambda figure: draw(rows, figure),
    )  # fmt: skip


def summarise(runs: list[Row], server: str, rate: int) -> Row:
    """Medians; what must not happen is added up, and the longest and the most grown are the worst of all runs."""
    chosen = [run for run in runs if (run["server"], run["rate"]) == (server, rate)]
    put_together: dict[str, Callable[[list[Any]], Any]] = {"failed": sum, "lost": sum, "max_ms": max, "grown_mb": max}
    names = [name for name in chosen[0] if name not in ("server", "rate")]
    values = {name: put_together.get(name, median)([run[name] for run in chosen]) for name in names}
    return {"server": server, "rate": rate} | values


def draw(rows: list[Row], figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    for server in (DAEMON, WAITRESS):
        chosen = [row for row in rows if row["server"] == server]
        left.plot([row["offered"] for row in chosen], [row["answered"] for row in chosen], "o-", label=server)
    left.set(xlabel="garbage offered, pieces / s", ylabel="answered / s")
    left.legend()
    ours = [row for row in rows if row["server"] == DAEMON]
    for name, label in (("p50_ms", "p50"), ("p99_ms", "p99")):
        right.plot([row["offered"] for row in ours], [row[name] for row in ours], "o-", label=label)
    right.set(xlabel="garbage offered, pieces / s", ylabel="a good request waits, ms", yscale="log")
    right.legend()


if __name__ == "__main__":
    run_benchmark(measure, __doc__, name="flood")
