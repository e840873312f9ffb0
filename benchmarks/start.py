"""How long after the start of its process the daemon has a forecast: a small model and a warm window are on disk.

Beside it, taking turns: a process that does no more than import pytorch-forecasting, as every program must that
predicts with it, and one that imports torch alone, the least that any program on top of torch needs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from common import Report, Row, Target, median, run_benchmark, tell
from matplotlib.figure import Figure
from support.daemon import clean_environment, wait_until
from support.drop_site import Site, make_site

TARGET_SHARE = 0.45
DAEMON, LIBRARY, TORCH = "nordiq_watch: first forecast", "import pytorch_forecasting", "import torch"


def measure(options: argparse.Namespace) -> Report:
    repeats = 3 if options.quick else 9
    with TemporaryDirectory() as directory:
        site = make_site(Path(directory))
        with site:
            site.daemon.stop()  # as a restart finds it: the window is on disk
        ways: dict[str, Callable[[], object]] = {
            DAEMON: lambda: start_to_forecast(site),
            LIBRARY: lambda: import_alone("pytorch_forecasting"),
            TORCH: lambda: import_alone("torch"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(repeats + 1):  # the first one reads files from the disk, and is not counted
            tell(f"turn {turn} of {repeats} …")
            for name, way in ways.items():
                begin = time.perf_counter()
                way()
                if turn:
                    seconds[name].append(time.perf_counter() - begin)
                if name == DAEMON:
                    site.daemon.kill()
    rows: list[Row] = [
        {"process": name, "turns": repeats, "median s": median(taken), "longest s": max(taken)}
        for name, taken in seconds.items()
    ]
    share = median(seconds[DAEMON]) / median(seconds[LIBRARY])
    return Report(
        rows=rows,
        targets=[Target(f"start to first forecast, times `{LIBRARY}`", share, TARGET_SHARE)],
        tables={
            "From the start of the process": [(name, name) for name in ("process", "turns", "median s", "longest s")]
        },
        draw=lambda figure: draw(seconds, figure),
    )


def start_to_forecast(site: Site) -> None:
    site.daemon.start()
    wait_until(lambda: site.daemon.predictions()["predictions"], what="a forecast")


def import_alone(module: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {module}"], env=clean_environment(), check=True)


def draw(seconds: dict[str, list[float]], figure: Figure) -> None:
    figure.set_size_inches(8, 3)
    axes = figure.subplots()
    axes.barh(list(seconds)[::-1], [median(taken) for taken in seconds.values()][::-1], color="#4a7fb5")
    for row, taken in enumerate(reversed(list(seconds.values()))):
        axes.plot(taken, [row] * len(taken), "k.", alpha=0.5)
    axes.set(xlabel="seconds from the start of the process")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="start")
