"""A fleet of any size on disk: a day of its samples in the archive, and a model of the trainer's default lengths.

The daemon fills its window from there at a start, so that no day has to be fed first.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.daemon import PATIENCE_SECONDS, DaemonProcess, wait_until
from support.models import drop_model
from support.networks import network_spec, parse_weights, snapshot_of, with_network

from nordiq_watch.network.checks import check_spec
from nordiq_watch.network.features import Features
from nordiq_watch.network.forward import choose_forward
from nordiq_watch.network.weights import build_network
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.samples import Batch
from nordiq_watch.spec import ModelSpec
from nordiq_watch.storage.archive import Archive

METRICS = ("cpu_user_pct", "mem_used_pct")
ENCODER, HORIZON, HIDDEN, HEADS = 288, 96, 32, 4
INTERVAL_SECONDS = 300
VERSION = "tft_model_20250130_143000"
PROFILES = ("Database", "Web API", "ML Compute", None)
FED_AT_ONCE = 10_000
_FORWARD_SERVERS, _FORWARD_TURNS = 2048, 5
"""The network is asked for this many servers at most, and the seconds are scaled: each server takes the same."""

_SLOWEST = 100
"""Servers that the daemon restores or forecasts in a second at the least, before the benchmark gives up."""

_WRITTEN_AT_ONCE = 5_000_000  # samples

_RESTS = 2.2
"""Durations of a tick: its own, the rest that follows, and a little more."""

_TIMED = Path(__file__).with_name("timed_daemon.py")


def spec_of_fleet() -> ModelSpec:
    """Two metrics in and out, calendar, profile and status: what the trainer makes by default."""
    spec = network_spec(
        targets=METRICS,
        framework={"torch": version("torch")},
        max_encoder_length=ENCODER,
        min_encoder_length=ENCODER // 2,
        max_prediction_length=HORIZON,
    )
    return with_network(spec, hidden_size=HIDDEN, attention_head_size=HEADS, hidden_continuous_size=HIDDEN // 2)


def name_of(server: int) -> str:
    return f"ppweb{server:07}"


def values_of(servers: int, slot: int) -> FloatArray:
    """(servers, metrics) in percent, the same at every call: a level and a daily rhythm of each, and noise."""
    levels = np.random.default_rng(0).uniform(15, 60, size=(servers, len(METRICS))).astype(np.float32)
    rhythm = 8 * np.sin((slot + np.arange(servers, dtype=np.float32)) * (2 * np.pi / ENCODER))
    noise = np.random.default_rng(slot).standard_normal((servers, len(METRICS)), dtype=np.float32)
    return np.asarray((levels + rhythm[:, None] + noise).round(2), dtype=np.float32)


class TimedDaemon(DaemonProcess):
    """The real daemon whose stages are timed; see timed_daemon."""

    def __init__(self, root: Path, *, servers: int, parts: bool = False) -> None:
        """parts: it can say what its memory is made of."""
        super().__init__(
            root,
            metrics=METRICS,
            window={"interval_seconds": INTERVAL_SECONDS, "length": ENCODER, "max_servers": servers},
            server={"port": 0, "max_body_mb": 64},
        )
        self.stages = root / "stages.jsonl"
        self.parts = root / "parts.json"
        self.launcher = (sys.executable, str(_TIMED), str(self.stages), str(self.parts) if parts else "-")
        self.patience_seconds = PATIENCE_SECONDS + servers / _SLOWEST

    def ticks(self) -> list[dict[str, Any]]:
        """The ticks that have ended, oldest first."""
        return [json.loads(line) for line in self.stages.read_text().splitlines()] if self.stages.exists() else []

    def peak_bytes(self) -> int:
        """Highest resident memory so far."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024

    def measure_parts(self) -> dict[str, int]:
        """What its memory is made of now; see memory_parts."""
        self.parts.unlink(missing_ok=True)
        self.signal(signal.SIGUSR1)
        wait_until(self.parts.exists, what="the daemon to walk its memory", seconds=self.patience_seconds)
        return dict(json.loads(self.parts.read_text()))

    def feed_slot(self, servers: int, slot: int) -> tuple[float, float]:
        """Feeds one sample of each server, in bodies of 10,000 records.

        Returns the seconds until all are accepted, and when the last body was sent: a tick that begins later has all.
        """
        bodies, sent = list(_bodies(servers, slot)), time.time()
        begin = time.perf_counter()
        for body in bodies:
            sent = time.time()
            self.post("/feed/data", data=body)
        return time.perf_counter() - begin, sent

    def wait_for_model(self, name: str) -> None:
        """Until it is live, with an answer for the whole fleet."""
        wait_until(
            lambda: self.model_info().get("model_name") == name,
            what="a model to go live",
            seconds=self.patience_seconds,
        )

    def wait_for_tick(self, begun_after: float) -> dict[str, Any]:
        """The first tick that began after this time, once it has ended."""

        def find() -> Any:
            return next((tick for tick in self.ticks() if tick["began"] >= begun_after), None)

        found: dict[str, Any] = wait_until(find, what="a tick", seconds=self.patience_seconds)
        return found

    def wait_for_rest(self) -> None:
        """Until no tick has followed the last one for longer than the forecaster rests."""

        def rests() -> bool:
            ticks = self.ticks()
            return not ticks or time.time() > ticks[-1]["began"] + _RESTS * ticks[-1]["seconds"] + 1

        wait_until(rests, what="the daemon to rest", seconds=self.patience_seconds)


def _bodies(servers: int, slot: int) -> Iterator[bytes]:
    values = values_of(servers, slot).tolist()
    for first in range(0, servers, FED_AT_ONCE):
        records = [
            {"timestamp": slot * INTERVAL_SECONDS, "server_name": name_of(first + number)}
            | dict(zip(METRICS, row, strict=True))
            for number, row in enumerate(values[first : first + FED_AT_ONCE])
        ]
        yield json.dumps({"records": records}).encode()


def write_fleet(root: Path, servers: int, *, newest_slot: int) -> None:
    """A day of samples up to `newest_slot` in the archive, and a model."""
    names = tuple(map(name_of, range(servers)))
    profiles = tuple(PROFILES[number % len(PROFILES)] for number in range(servers))
    archive = Archive(root / "state" / "archive", metrics=METRICS, interval_seconds=INTERVAL_SECONDS, days=9)
    at_once = max(1, _WRITTEN_AT_ONCE // servers)
    for first in range(newest_slot - ENCODER + 1, newest_slot + 1, at_once):
        slots = range(first, min(first + at_once, newest_slot + 1))
        archive.write([_slice(names, profiles, slot) for slot in slots])
    drop_model(root / "models", VERSION, spec=spec_of_fleet())


def _slice(names: tuple[str, ...], profiles: tuple[str | None, ...], slot: int) -> Batch:
    return Batch(
        servers=names,
        profiles=profiles,
        rows=np.arange(len(names)),
        slots=np.full(len(names), slot),
        statuses=np.ones(len(names), dtype=np.uint8),
        values=values_of(len(names), slot),
        offsets=np.zeros(len(names), dtype=np.int64),
    )


def state_bytes(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / "state").rglob("*") if path.is_file())


def seconds_to_read(root: Path) -> float:
    """Reading all files of the state once."""
    begin = time.perf_counter()
    for path in (root / "state").rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass
    return time.perf_counter() - begin


def time_raw_forward(servers: int, weights: bytes, *, threads: int) -> tuple[float, float]:
    """The network alone on inputs that are ready, for so many servers: seconds by the clock and of the processor.

    threads: as many as the daemon takes. The best of some turns.
    """
    torch.set_num_threads(threads)
    spec = spec_of_fleet()
    check_spec(spec)
    asked = min(servers, _FORWARD_SERVERS)
    values = np.stack([values_of(asked, slot) for slot in range(ENCODER)], axis=1)
    snapshot = snapshot_of(values, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    features = Features(spec)
    forward = choose_forward(
        build_network(spec.network, parse_weights(weights)), device="cpu", prefer="native", encoder=ENCODER
    )
    size = forward.servers_at_once
    parts = [features.build(snapshot, np.arange(begin, min(begin + size, asked))) for begin in range(0, asked, size)]
    forward.run(parts[0])
    turns = [_time(lambda: [forward.run(part) for part in parts]) for _ in range(_FORWARD_TURNS)]
    clock, processor = (min(taken) * servers / asked for taken in zip(*turns, strict=True))
    return clock, processor


def _time(work: Callable[[], object]) -> tuple[float, float]:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor
