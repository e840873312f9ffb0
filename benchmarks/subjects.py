"""What is measured: model versions of a given size, and the two servers that reload them, each a process of its own.

The daemon's process and the networks whose answer is known are those of the tests: one definition for both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec
import numpy as np
import requests
import torch
from common import cores
from support.daemon import PATIENCE_SECONDS, DaemonProcess, wait_until
from support.models import METRICS, drop_model, tiny_spec

from nordiq_watch.artifact.layout import WEIGHTS_FILE
from nordiq_watch.metrics import DEFAULT_PROFILE
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec

ANSWER_PATH = "/predictions/current"
SERVERS = tuple(f"ppdb{number:03d}" for number in range(4))
"""Few, so that a reload is more than its forward pass."""

_MEGABYTE = 1_000_000
_POLL_SECONDS = 0.25


# --- the fleet ----------------------------------------------------------------------------------------------------


def fleet_values(spec: ModelSpec) -> FloatArray:
    """(servers, slots, metrics) in percent: made up, and the same at every call."""
    steps = np.random.default_rng(0).normal(size=(len(SERVERS), spec.max_encoder_length, len(METRICS)))
    return np.asarray((40 + steps.cumsum(axis=1)).clip(1, 99), dtype=np.float32)


def fleet_snapshot() -> WindowSnapshot:
    """The window of that fleet, as a model gets it."""
    spec = tiny_spec()
    values = fleet_values(spec)
    return WindowSnapshot(
        servers=SERVERS,
        profiles=(DEFAULT_PROFILE,) * len(SERVERS),
        metrics=METRICS,
        interval_seconds=spec.interval_seconds,
        last_slot=int(time.time()) // spec.interval_seconds,
        values=values,
        statuses=np.zeros(values.shape[:2], dtype=np.uint8),
    )


def fleet_records() -> Iterator[dict[str, Any]]:
    """The same as records for /feed/data, up to the present slot: every server is warm afterwards."""
    snapshot = fleet_snapshot()
    first_slot = snapshot.last_slot - snapshot.values.shape[1] + 1
    for name, history in zip(snapshot.servers, snapshot.values, strict=True):
        for slot, sample in enumerate(history, start=first_slot):
            measured = dict(zip(METRICS, map(float, sample), strict=True))
            yield {"timestamp": slot * snapshot.interval_seconds, "server_name": name, **measured}


# --- the versions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """Versions of one size, on the disk: `first` to begin with, `second` to warm up with, `third` is the drop that is
    measured, `damaged` the one after it: whole, of the right length, but zeros stand in the middle of its weights.
    """

    directory: Path
    megabytes: int
    first: str = "tft_model_20250101_000000"
    second: str = "tft_model_20250102_000000"
    third: str = "tft_model_20250103_000000"
    damaged: str = "tft_model_20250104_000000"

    def write(self) -> None:
        """Synchronised to the disk: the kernel writes nothing back while a reload is measured."""
        spec = spec_of_size(self.megabytes * _MEGABYTE)
        for band, name in enumerate((self.first, self.second, self.third), start=1):
            drop_model(self.directory, name, spec=spec, band=1 + band / 10)
        shutil.copytree(self.directory / self.third, self.directory / self.damaged)
        damage(self.directory / self.damaged / WEIGHTS_FILE)

    @property
    def weight_bytes(self) -> int:
        return (self.directory / self.third / WEIGHTS_FILE).stat().st_size

    def drop(self, name: str, models_dir: Path) -> float:
        """Renames the version into `models_dir`, and says when. Its files are hard links: only the rename is timed."""
        staged = models_dir.with_name("staged") / name
        shutil.copytree(self.directory / name, staged, copy_function=os.link)
        now = time.monotonic()
        staged.rename(models_dir / name)
        return now


def spec_of_size(wanted_bytes: int) -> ModelSpec:
    """A TFT of all its parts whose weights take about so many bytes, by its hidden size alone."""
    spec = tiny_spec()
    heads = spec.network.attention_head_size
    low, high = 8 // heads, 8192 // heads
    while low < high:
        middle = (low + high) // 2
        if _weight_bytes(_with_hidden_size(spec, middle * heads)) < wanted_bytes:
            low = middle + 1
        else:
            high = middle
    return _with_hidden_size(spec, low * heads)


def _with_hidden_size(spec: ModelSpec, size: int) -> ModelSpec:
    return msgspec.structs.replace(spec, network=msgspec.structs.replace(spec.network, hidden_size=size))


def _weight_bytes(spec: ModelSpec) -> int:
    with torch.device("meta"):
        network = TemporalFusionTransformer(spec.network)
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def damage(weights: Path) -> None:
    """Overwrites a sixth of the file, in its middle, with zeros. Its length stays, its hash does not."""
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.seek(size // 2)
        file.write(bytes(size // 6))
        file.flush()
        os.fsync(file.fileno())


# --- the servers --------------------------------------------------------------------------------------------------


class Subject(Protocol):
    """A server that reloads by itself what is dropped into `models`. `with` starts it and kills it."""

    name: str

    @property
    def url(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def pid(self) -> int: ...

    @property
    def models(self) -> Path: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def has_dealt_with(self, version: str) -> bool:
        """Whether it has loaded or refused the version for good."""

    def stages(self, version: str) -> dict[str, float]:
        """Seconds of each stage of that reload; empty if the server does not say."""


class Daemon:
    """`python -m nordiq_watch serve` with a warm window, as users run it: torch takes all cores."""

    name = "nordiq_watch"

    def __init__(self, root: Path, library: Library, *, device: str = "cpu", policy: str = "auto") -> None:
        self._process = DaemonProcess(root, metrics=METRICS, device=device, reload={"policy": policy})
        library.drop(library.first, self._process.models)

    def __enter__(self) -> Self:
        self._process.start(OMP_NUM_THREADS=str(cores()))
        self._process.feed(list(fleet_records()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()

    @property
    def key(self) -> str:
        return self._process.key

    @property
    def url(self) -> str:
        return self._process.url

    @property
    def models(self) -> Path:
        return self._process.models

    @property
    def pid(self) -> int:
        assert self._process.process is not None
        return self._process.process.pid

    def has_dealt_with(self, version: str) -> bool:
        return self._process.state_of(version)[0] in ("live", "rejected")

    def stages(self, version: str) -> dict[str, float]:
        reloads = self._process.get("/admin/reloads")["reloads"]
        loaded = next(reload for reload in reloads if reload["version"] == version and reload["outcome"] == "loaded")
        return {stage["name"]: stage["seconds"] for stage in loaded["stages"]}


class PriorArt:
    """prior_art.py: the live model is deleted, then the new one loaded, under a lock that requests take too."""

    name = "delete, then load under the lock"
    key = "none"

    def __init__(self, root: Path, library: Library) -> None:
        self.models = root / "models"
        self.models.mkdir(parents=True)
        library.drop(library.first, self.models)

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("prior_art.py")
        arguments = [sys.executable, str(script), str(self.models)]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @cached_property
    def url(self) -> str:
        """Waits until it serves."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_dealt_with(self, version: str) -> bool:
        return bool(requests.get(f"{self.url}/dealt-with/{version}", timeout=PATIENCE_SECONDS).json())

    def stages(self, version: str) -> dict[str, float]:
        return {}


def ask(subject: Subject) -> requests.Response:
    """One answer, as the clients get it."""
    return requests.get(subject.url + ANSWER_PATH, headers={"X-API-Key": subject.key}, timeout=PATIENCE_SECONDS)


def wait_until_dealt_with(version: str, subject: Subject) -> None:
    """Asks rarely: what the server does to answer this would slow down what is measured."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not subject.has_dealt_with(version):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{subject.name} neither loaded nor refused {version}")
        time.sleep(_POLL_SECONDS)


def wait_for_answers_by(version: str, subject: Subject) -> None:
    wait_until(
        lambda: ask(subject).headers.get("X-Model-Version") == version, what=f"{subject.name} to answer by {version}"
    )
