"""How long from the first command to the first forecast of one's own servers: `nordiq-watch init --prometheus` in a
bare directory, until every server is forecast by a version that was trained.

Debian's Prometheus is filled with days of a fleet beforehand (promtool tsdb create-blocks-from openmetrics), each
server scraped every 60 s with jitter. With --cores, each server has the series of a whole node_exporter. Afterwards the
same history is fetched once more, to say what a sample costs. Needs Debian's package prometheus, and some 2 GB of /tmp.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import requests
from common import Report, Row, Target, run_benchmark, tell
from matplotlib.figure import Figure
from support.daemon import clean_environment, free_port, wait_until

from nordiq_watch.config.schema import Config
from nordiq_watch.importing.prometheus import fetch_slots
from nordiq_watch.importing.prometheus_api import PrometheusApi, Source

SCRAPE_SECONDS, JITTER_SECONDS = 60, 9.0
DAY_SECONDS = 86_400
MODES = ("idle", "user", "system", "iowait")
OTHER_MODES, DEVICES = ("nice", "irq", "softirq", "steal"), ("eth0", "eth1", "docker0", "lo")
MEMORY_BYTES, DISK_BYTES = 16e9, 200e9
TARGET_MINUTES = 10.0
TARGET_MICROSECONDS = 2.0


def measure(options: argparse.Namespace) -> Report:
    servers, days, minutes = (6, 3, 0.3) if options.quick else (options.servers, options.days, options.max_minutes)
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            raise SystemExit(f"error: {program} is not installed (Debian: apt-get install prometheus)")
    with TemporaryDirectory() as directory:
        root = Path(directory)
        tell(f"filling Prometheus with {days} days of {servers} servers …")
        begin = time.perf_counter()
        fleet = Fleet(servers, cores=options.cores)
        fill(root / "tsdb", fleet, days=days, now=time.time())
        row: Row = {"servers": servers, "days": days, "filled s": time.perf_counter() - begin}
        with prometheus(root) as (url, process):
            if not options.fetch_only:
                tell("nordiq-watch init …")
                row |= first_forecast(root / "bare", url, servers=servers, days=days, minutes=minutes)
            tell("the fetch alone …")
            row |= fetch_alone(root / "spool", url, psutil.Process(process), days=days)
            row |= {"samples": fleet.samples, "us a sample": row["fetch cpu s"] / fleet.samples * 1e6}
    columns = ["servers", "days", "samples", "filled s", "init s", "forecast s", "slots", "metrics"]
    columns += ["fetch s", "fetch cpu s", "prometheus cpu s", "us a sample"]
    targets = [Target("processor time of a fetched sample, us", row["us a sample"], TARGET_MICROSECONDS)]
    if not options.fetch_only:
        minutes_taken = row["forecast s"] / 60
        words = "first command to a forecast of all by a trained model, min"
        targets.append(Target(words, minutes_taken, TARGET_MINUTES))
    return Report(
        rows=[row],
        targets=targets,
        tables={"From nothing to the first forecast": [(name, name) for name in columns if name in row]},
        draw=lambda figure: draw(row, figure),
    )


def first_forecast(place: Path, url: str, *, servers: int, days: int, minutes: float) -> Row:
    """forecast s: until GET /predictions/current has every server, by a trained version. init s: until `init` ended."""
    place.mkdir()
    port = free_port()
    options = ("--prometheus", url, "--days", str(days), "--max-minutes", str(minutes), "--port", str(port), "--yes")
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "nordiq_watch", "init", *options],
        cwd=place, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    ended = time.perf_counter() - begin
    try:
        if done.returncode != 0:
            raise RuntimeError(done.stdout)
        forecast = wait_until(lambda: forecast_of_all(place, port, servers), what="a forecast of all servers")
        forecasts = [one for server in forecast["predictions"].values() for one in server.items()]
        metrics = len({name for name, said in forecasts if isinstance(said, dict) and "p50" in said})
        taken = time.perf_counter() - begin
        status = requests.get(f"http://127.0.0.1:{port}/status", timeout=30).json()
        return {"init s": ended, "forecast s": taken, "slots": status["window_size"], "metrics": metrics}
    finally:
        for number in re.findall(r"`kill (\d+)` stops it", done.stdout):
            daemon = psutil.Process(int(number))
            daemon.terminate()
            daemon.wait(60)


def forecast_of_all(place: Path, port: int, servers: int) -> Any:
    """The answer, if it has that many servers and is one of a trained version."""
    key = (place / ".nordiq_key").read_text().splitlines()[0]
    address = f"http://127.0.0.1:{port}/predictions/current"
    answer = requests.get(address, headers={"X-API-Key": key}, timeout=30).json()
    trained = answer.get("metadata", {}).get("model_version") or ""
    return answer if len(answer["predictions"]) == servers and trained.startswith("tft_model_") else None


def fetch_alone(directory: Path, url: str, prometheus: psutil.Process, *, days: int) -> Row:
    """fetch cpu s, prometheus cpu s: of all threads of this process, and of the server, meanwhile."""
    api = PrometheusApi(Source(url))
    before, begin, own = sum(prometheus.cpu_times()[:2]), time.perf_counter(), time.process_time()
    fetch_slots(api, Config(), days=days, now=time.time(), directory=directory)
    seconds, own = time.perf_counter() - begin, time.process_time() - own
    api.close()
    return {
        "fetch s": seconds,
        "fetch cpu s": own,
        "prometheus cpu s": sum(prometheus.cpu_times()[:2]) - before,
    }


def fill(data: Path, fleet: Fleet, *, days: int, now: float) -> None:
    """Blocks of the days before `now`, day by day: promtool reads its input anew for every block that it writes."""
    for day in range(days, 0, -1):
        text = data.with_suffix(".om")
        with text.open("w") as file:
            file.writelines(fleet.openmetrics(now - day * DAY_SECONDS, now - (day - 1) * DAY_SECONDS))
        command = ("promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data))
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        text.unlink()


class Fleet:
    """What node_exporter says of each server: a daily rhythm, and a load that jumps from scrape to scrape.

    cores: with all modes of each, and what else a whole node_exporter has for our metrics; 0 for the fewest series.
    samples: written so far.
    """

    def __init__(self, servers: int, *, cores: int = 0) -> None:
        self.samples = 0
        self._cores = cores
        self._servers = [f"web{number:03}.example.net:9100" for number in range(servers)]
        self._chance = np.random.default_rng(7)
        self._counters = np.full((servers, len(MODES)), 1e5)
        self._first = time.time() - 365 * DAY_SECONDS

    def openmetrics(self, begin: float, end: float) -> Iterator[str]:
        """Counters go on from the call before."""
        scrapes = [self._scrape(number, begin, end) for number in range(len(self._servers))]
        for place, (name, kind) in enumerate(_FAMILIES):
            yield f"# TYPE {name.removesuffix('_total')} {kind}\n"
            for instance, (moments, series) in zip(self._servers, scrapes, strict=True):
                for labels, values in series[place]:
                    head = f'{name}{{{labels}instance="{instance}",job="node"}}'
                    self.samples += len(values)
                    for moment, value in zip(moments, values, strict=True):
                        yield f"{head} {value} {moment}\n"
        yield "# EOF\n"

    def _scrape(self, number: int, begin: float, end: float) -> tuple[list[str], list[list[tuple[str, list[str]]]]]:
        """The moments, and of each family the labels and values of its series."""
        chance = self._chance
        at = begin + number + np.arange(0, end - begin - SCRAPE_SECONDS, SCRAPE_SECONDS)
        moments = at + chance.uniform(0, JITTER_SECONDS, len(at))
        busy = 0.1 + 0.35 * (1 + np.sin(2 * math.pi * (at / DAY_SECONDS + number / 40)))
        busy = np.clip(busy * chance.uniform(0.5, 1.5, len(at)), 0.02, 0.95)
        shares = np.stack([1 - busy, 0.75 * busy, 0.2 * busy, 0.05 * busy], axis=1)
        counters = self._counters[number] + np.cumsum(shares * SCRAPE_SECONDS, axis=0)
        self._counters[number] = counters[-1]
        available = MEMORY_BYTES * (0.5 - 0.3 * busy)
        free = DISK_BYTES * (0.6 - 0.1 * (at % (7 * DAY_SECONDS)) / (7 * DAY_SECONDS))
        gauges = (np.full(len(at), MEMORY_BYTES), available, 8 * busy, np.full(len(at), DISK_BYTES), free)
        disk = 'mountpoint="/",fstype="ext4",device="/dev/sda1",'
        modes = [(mode, _write(counters[:, place])) for place, mode in enumerate(MODES)]
        modes += [(mode, ["0.00"] * len(at)) for mode in OTHER_MODES if self._cores]
        families = [[(f'cpu="{cpu}",mode="{mode}",', of) for cpu in range(self._cores or 1) for mode, of in modes]]
        families += [[(disk if values is gauges[3] or values is free else "", _write(values))] for values in gauges]
        traffic = _write(1e9 + 3e5 * (at - self._first))
        devices = [(f'device="{device}",', traffic) for device in DEVICES if self._cores]
        families += [devices, devices]
        families += [[("", _write(np.full(len(at), value)))] * bool(self._cores) for value in (4e9, 3e9, 1e9)]
        return [f"{moment:.3f}" for moment in moments], families


_FAMILIES = (
    ("node_cpu_seconds_total", "counter"),
    ("node_memory_MemTotal_bytes", "gauge"),
    ("node_memory_MemAvailable_bytes", "gauge"),
    ("node_load1", "gauge"),
    ("node_filesystem_size_bytes", "gauge"),
    ("node_filesystem_avail_bytes", "gauge"),
    ("node_network_receive_bytes_total", "counter"),
    ("node_network_transmit_bytes_total", "counter"),
    ("node_memory_SwapTotal_bytes", "gauge"),
    ("node_memory_SwapFree_bytes", "gauge"),
    ("node_boot_time_seconds", "gauge"),
)


def _write(values: np.ndarray) -> list[str]:
    return [f"{value:.2f}" for value in values.tolist()]


@contextmanager
def prometheus(root: Path) -> Iterator[tuple[str, int]]:
    """Yields its URL and the number of its process."""
    (root / "prometheus.yml").write_text("scrape_configs: []\n")
    port = free_port()
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={root / 'prometheus.yml'}",
            f"--storage.tsdb.path={root / 'tsdb'}",
            "--storage.tsdb.retention.time=1y",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _is_ready(port), what="Prometheus")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(60)


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def draw(row: Row, figure: Figure) -> None:
    figure.set_size_inches(8, 2)
    axes = figure.subplots()
    what = "forecast s" if "forecast s" in row else "fetch s"
    axes.barh([what, "allowed"], [row[what] / 60, TARGET_MINUTES], color=["#4a7fb5", "#cccccc"])
    axes.set(xlabel="minutes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--servers", type=int, default=40, metavar="N", help="default: 40")
    parser.add_argument("--days", type=int, default=14, metavar="N", help="default: 14")
    parser.add_argument(
        "--cores", type=int, default=0, metavar="N", help="with all series of a node_exporter of so many"
    )
    parser.add_argument("--fetch-only", action="store_true", help="no training: what fetching the history takes")
    parser.add_argument("--max-minutes", type=float, default=3.0, metavar="M", help="of the training (default: 3)")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="first_forecast", add_arguments=add_arguments)
