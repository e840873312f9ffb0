"""What a request for the forecast of 50 servers costs: the daemon computed the answer when the data came, and hands out
bytes that are ready. Beside it, in the same run, what it would cost to compute the answer in the request: our own
sweep, and pytorch-forecasting's `predict` from a data frame that is ready.

The client asks over HTTP, on one connection, while samples come in every second and the fleet is forecast anew.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import common  # noqa: F401  first: it makes `support` importable
import numpy as np
from common import Report, Row, Target, median, percentile, run_benchmark, tell
from fleets import ENCODER, HORIZON, Peer, fill_window, make_frame, make_peer, make_values
from matplotlib.figure import Figure
from safetensors.numpy import save
from support.daemon import DaemonProcess, wait_until
from support.specs import mapping_of

from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.spec import TrainingInfo

SERVERS, HIDDEN, TARGETS = 50, 32, 2
INTERVAL_SECONDS = 300
TICK_SECONDS = 1.0
TARGET_SHARE = 1 / 1000
VERSION = "tft_model_20250130_143000"
CURRENT = "/predictions/current"


def measure(options: argparse.Namespace) -> Report:
    asked, repeats = (500, 3) if options.quick else (5000, 7)
    tell("making the network …")
    peer = make_peer(hidden_size=HIDDEN, targets=DEFAULT_METRICS[:TARGETS], calm=True)
    values = make_values(SERVERS, ENCODER, seed=2)
    with TemporaryDirectory() as root, serve(Path(root), peer, values) as daemon:
        tell("asking …")
        with ticking(daemon, values):
            whole = ask(daemon, asked)
            unchanged = ask(daemon, asked, only_if_new=True)
            one = ask(daemon, asked, path="/predictions/ppdb00000")
    tell("computing …")
    ours, library = compute(peer, values, repeats)
    rows: list[Row] = [
        describe("GET /predictions/current", whole),
        describe("the same with If-None-Match: 304 where nothing is new", unchanged),
        describe("GET /predictions/SERVER", one),
        describe("our own sweep in the request", ours),
        describe("pytorch-forecasting's predict in the request", library),
    ]
    share = median(unchanged) / median(library)
    return Report(
        rows=rows,
        targets=[
            Target("a poll of a client that has the answer, share of the library's time", share, TARGET_SHARE),
            Target("the whole answer, share of the library's time", median(whole) / median(library), TARGET_SHARE),
        ],
        tables={
            f"{SERVERS} servers, {TARGETS} targets, horizon {HORIZON}": [
                ("what", "what"), ("times", "asked"), ("median ms", "median ms"), ("p99 ms", "p99 ms"),
            ]
        },
        draw=lambda figure: draw(rows, figure),
    )  # fmt: skip


def describe(what: str, seconds: list[float]) -> Row:
    return {
        "what": what,
        "times": len(seconds),
        "median ms": median(seconds) * 1e3,
        "p99 ms": percentile(seconds, 99) * 1e3,
    }


@contextmanager
def serve(root: Path, peer: Peer, values: np.ndarray) -> Iterator[DaemonProcess]:
    """A daemon with the peer's network and a warm window."""
    with DaemonProcess(root, metrics=DEFAULT_METRICS) as daemon:
        for begin in range(0, ENCODER, 96):
            daemon.feed([record for slot in range(begin, begin + 96) for record in records(values, slot - ENCODER)])
        write_model_directory(
            daemon.models,
            name=VERSION,
            weights=save({name: as_array(tensor) for name, tensor in peer.tensors.items()}),
            spec=peer.spec,
            mapping=mapping_of("ppdb00000", version=VERSION),
            info=TrainingInfo(),
        )
        daemon.post(
            "/admin/reload-model", params={"model_path": VERSION, "wait": "true"}
        )  # named: random weights make no sense
        wait_until(lambda: len(daemon.predictions()["predictions"]) == SERVERS, what="a forecast of every server")
        yield daemon


def as_array(tensor: Any) -> np.ndarray:
    return np.frombuffer(tensor.data, dtype=np.float32).reshape(tensor.shape)


def records(values: np.ndarray, ago: int) -> list[dict[str, Any]]:
    """One sample of every server, `ago` slots from now."""
    moment = time.time() + ago * INTERVAL_SECONDS
    return [
        {"timestamp": moment, "server_name": f"ppdb{server:05}"}
        | dict(zip(DEFAULT_METRICS, values[server, ago].tolist(), strict=True))
        for server in range(SERVERS)
    ]


@contextmanager
def ticking(daemon: DaemonProcess, values: np.ndarray) -> Iterator[None]:
    """A feeder goes on, every second."""
    stop = Event()

    def feed() -> None:
        while not stop.wait(TICK_SECONDS):
            daemon.feed(records(values, 0))

    thread = Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def ask(daemon: DaemonProcess, times: int, *, path: str = CURRENT, only_if_new: bool = False) -> list[float]:
    address = urlsplit(daemon.url)
    connection = HTTPConnection(str(address.hostname), address.port)
    headers, seconds = {"X-API-Key": daemon.key}, []
    for _ in range(times):
        begin = time.perf_counter()
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        seconds.append(time.perf_counter() - begin)
        if response.status not in (200, 304):
            raise RuntimeError(f"{path} answered {response.status}: {body[:200]!r}")
        if only_if_new:
            headers["If-None-Match"] = response.headers["ETag"]
    connection.close()
    return seconds


def compute(peer: Peer, values: np.ndarray, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of our own sweep and of the library's, taking turns."""
    window, frame = fill_window(values), make_frame(values)
    predictor = Predictor(peer.spec, peer.tensors, device="cpu")
    ours: list[float] = []
    library: list[float] = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        predictor.predict(window.snapshot())
        middle = time.perf_counter()
        peer.predict(frame, batch_size=128)
        ours.append(middle - begin)
        library.append(time.perf_counter() - middle)
    return ours[1:], library[1:]  # the first turn is a warm-up


def draw(rows: list[Row], figure: Figure) -> None:
    figure.set_size_inches(9, 3.5)
    axes = figure.subplots()
    axes.barh([row["what"] for row in rows][::-1], [row["median ms"] for row in rows][::-1], color="#4a7fb5")
    axes.set(xscale="log", xlabel="ms, median")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="answers")
