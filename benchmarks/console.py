"""How long a person waits for the console's Fleet page: from the click to the first rows and the map, in Chromium.

While that is measured, the daemon forecasts the whole fleet again and again. Beside it, in the same run: the same page
while the daemon rests, and what a program waits for that reads the whole answer of the API instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import numpy as np
from common import Report, Row, Target, median, run_benchmark, tell
from matplotlib.figure import Figure
from playwright.sync_api import Page
from support.browser import open_browser, sign_in
from support.daemon import DaemonProcess, wait_until
from support.models import METRICS, drop_model, tiny_spec

from nordiq_watch.config.schema import DEFAULT_METRICS

TARGET_SECONDS = 2.0
ENCODER, HORIZON, WARM_SLOTS = 288, 96, 8
INTERVAL_SECONDS = 300
FED_AT_ONCE = 10_000
VERSION = "tft_model_20250130_143000"
DRAWN = """() => document.querySelector('#list-body [role=row] canvas[width]') && document.querySelector('#map[style]')
    ? performance.now() : null"""
"""Milliseconds from the beginning of the navigation, once rows with their lines and the map are drawn; null before."""


def measure(options: argparse.Namespace) -> Report:
    sizes, repeats = ((200, 5000), 3) if options.quick else ((100, 1000, 5000), 7)
    rows: list[Row] = []
    with open_browser() as browser:
        for servers in sizes:
            with (
                TemporaryDirectory() as root,
                fleet_of(servers, Path(root)) as daemon,
                browser.new_context() as context,
            ):
                page = context.new_page()
                sign_in(page, daemon)
                rows += [measure_page(page, daemon, servers, busy=busy, repeats=repeats) for busy in (False, True)]
    worst = max(row["opens_s"] for row in rows if row["servers"] == max(sizes) and row["daemon"] == "forecasts")
    return Report(
        rows=rows,
        targets=[Target(f"Fleet page of {max(sizes)} servers beside the tick, median s", worst, TARGET_SECONDS)],
        tables={
            "From the click to what is drawn": [
                ("servers", "servers"),
                ("daemon", "the daemon"),
                ("opens_s", "page, median s"),
                ("longest_s", "page, longest s"),
                ("api_s", "GET /predictions/current, median s"),
                ("page_mb", "MB for the page"),
                ("api_mb", "MB for the API"),
                ("ticks", "forecasts meanwhile"),
            ]
        },
        draw=lambda figure: draw(figure, rows),
    )


@contextmanager
def fleet_of(servers: int, root: Path) -> Iterator[DaemonProcess]:
    """A daemon that forecasts so many servers with a network of the trainer's default lengths."""
    spec = tiny_spec(max_encoder_length=ENCODER, max_prediction_length=HORIZON, min_encoder_length=WARM_SLOTS - 2)
    with DaemonProcess(root, metrics=DEFAULT_METRICS, server={"port": 0, "max_body_mb": 64}) as daemon:
        newest = int(time.time()) // INTERVAL_SECONDS
        for back in range(WARM_SLOTS, 0, -1):
            feed(daemon, servers, newest - back)
        drop_model(daemon.models, VERSION, spec=spec)
        daemon.wait_for_live(VERSION)
        wait_until(lambda: len(daemon.predictions()["predictions"]) == servers, what="a forecast of all servers")
        tell(f"{servers} servers are forecast")
        yield daemon


def feed(daemon: DaemonProcess, servers: int, slot: int) -> None:
    chance = np.random.default_rng(slot)
    values = chance.uniform(5, 95, size=(servers, len(METRICS))).round(2).tolist()
    for first in range(0, servers, FED_AT_ONCE):
        daemon.feed(
            [
                {
                    "timestamp": slot * INTERVAL_SECONDS,
                    "server_name": f"ppweb{number:05}",
                    **dict(zip(METRICS, row, strict=True)),
                }
                for number, row in enumerate(values[first : first + FED_AT_ONCE], first)
            ]
        )


def measure_page(page: Page, daemon: DaemonProcess, servers: int, *, busy: bool, repeats: int) -> Row:
    opened, read = [], []
    with ticking(daemon, servers, wanted=busy) as ticks:
        for _ in range(repeats):
            opened.append(open_page(page, daemon))
            began = time.perf_counter()
            api_bytes = len(daemon.request("GET", "/predictions/current").content)
            read.append(time.perf_counter() - began)
    return {
        "servers": servers,
        "daemon": "forecasts" if busy else "rests",
        "opens_s": median(opened),
        "longest_s": max(opened),
        "api_s": median(read),
        "page_mb": len(daemon.request("GET", "/view/fleet").content) / 1e6,
        "api_mb": api_bytes / 1e6,
        "ticks": ticks[0],
    }


def open_page(page: Page, daemon: DaemonProcess) -> float:
    """Seconds from the beginning of the navigation to a drawn page."""
    page.goto("about:blank")
    page.goto(daemon.url + "/", wait_until="commit")
    return float(wait_until(lambda: page.evaluate(DRAWN), what="a drawn page")) / 1000


@contextmanager
def ticking(daemon: DaemonProcess, servers: int, *, wanted: bool) -> Iterator[list[int]]:
    """Feeds the newest slot again and again, so that the daemon forecasts without a rest; counts its forecasts."""
    count, stop = [0], Event()

    def keep_feeding() -> None:
        while not stop.is_set():
            feed(daemon, servers, int(time.time()) // INTERVAL_SECONDS)

    def made() -> Any:
        text = daemon.request("GET", "/metrics").text
        return next(
            line for line in text.splitlines() if line.startswith("nordiq_watch_forecast_duration_seconds_count")
        )

    if not wanted:
        yield count
        return
    before = made()
    feeder = Thread(target=keep_feeding)
    feeder.start()
    wait_until(lambda: made() != before, what="the first forecast of many")
    yield count
    count[0] = int(float(made().split()[-1]) - float(before.split()[-1]))
    stop.set()
    feeder.join()


def draw(figure: Figure, rows: list[Row]) -> None:
    axes = figure.subplots()
    for daemon in ("rests", "forecasts"):
        mine = [row for row in rows if row["daemon"] == daemon]
        axes.plot(
            [row["servers"] for row in mine],
            [row["opens_s"] for row in mine],
            marker="o",
            label=f"page, daemon {daemon}",
        )
        axes.plot(
            [row["servers"] for row in mine], [row["api_s"] for row in mine], marker=".", linestyle=":",
            label=f"whole API answer, daemon {daemon}",
        )  # fmt: skip
    axes.axhline(TARGET_SECONDS, color="grey", linewidth=1)
    axes.set(xlabel="servers", ylabel="seconds", title="Fleet page: from the click to what is drawn", ylim=(0, None))
    axes.legend()


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="console")
