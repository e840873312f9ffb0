"""A real daemon with a warm fleet, a client that never stops reading, and a shelf of finished versions to drop."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Self

from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model, drop_model_with_extras
from support.writers import Writer

SECTIONS = {"window": {"length": ENCODER}, "training": {"max_encoder_length": ENCODER}}
SETTLE_SECONDS = 0.2
SERVERS = ("ppdb000", "ppdb001", "ppml000")
_FIRST = datetime(2025, 1, 1, tzinfo=UTC)
_READ_SECONDS = 0.005


@dataclass(frozen=True)
class Said:
    """Which model an answer says that it is by, and by which model its numbers are."""

    version: str
    generation: int
    sha256: str
    shift: float


@dataclass(frozen=True)
class Made:
    """A finished version on the shelf. `shift` is what the model adds to the last value: its signature in answers."""

    name: str
    path: Path
    sha256: str
    shift: float

    def said(self, generation: int) -> Said:
        """What every answer by it looks like."""
        return Said(self.name, generation, self.sha256, self.shift)


@dataclass
class Shelf:
    """Makes versions where no daemon looks; each is newer than those before it, and answers differently."""

    directory: Path
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def make(self, *, name: str | None = None, hashes: bool = True, extras: bool = False, **what: Any) -> Made:
        """extras: in format 2, where the shift is that of the extras."""
        number = next(self.numbers)
        shift = what.pop("shift", number / 100)
        name = name or name_of(number)
        shelf = self.directory / str(number)
        drop = drop_model_with_extras if extras else drop_model
        path = drop(shelf, name, hashes=hashes, shift=shift, seed=number, **what)
        return Made(name, path, weights_sha256(path), shift)


def name_of(number: int) -> str:
    return f"tft_model_{_FIRST + timedelta(minutes=number):%Y%m%d_%H%M%S}"


def weights_sha256(directory: Path) -> str:
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def warm_fleet() -> list[dict[str, Any]]:
    """Enough samples of three servers for a forecast."""
    now = time.time()
    return [
        {
            "timestamp": now - 300 * (ENCODER - 1 - slot),
            "server_name": server,
            "cpu_user_pct": 40.0 + (slot * 7 + row) % 11,
            "mem_used_pct": 60.0 + (slot * 3 + row) % 7,
        }
        for slot in range(ENCODER)
        for row, server in enumerate(SERVERS)
    ]


class Outages:
    """When the test itself has the daemon down: what fails then is nobody's fault."""

    def __init__(self) -> None:
        self.number = 0
        self.now = False

    @contextmanager
    def one(self) -> Iterator[None]:
        self.number += 1
        self.now = True
        yield
        self.now = False

    def watch(self) -> Callable[[], bool]:
        """Whether the daemon was down at any time since, or is."""
        number, down = self.number, self.now
        return lambda: down or self.now or self.number != number


class Reader(threading.Thread):
    """Asks for predictions and readiness on one connection until stopped.

    said: each answer that differs from the one before it. failures: requests that were not answered as they should be,
    answers that contradict themselves, and a readiness that was lost.
    """

    def __init__(self, daemon: DaemonProcess, outages: Outages | None = None) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self._outages = outages or Outages()
        self._stopping = threading.Event()
        self._ready = False
        self.said: list[Said] = []
        self.failures: list[str] = []
        self.answers = 0

    def run(self) -> None:
        while not self._stopping.is_set():
            was_down = self._outages.watch()
            connection = HTTPConnection(self._daemon.url.removeprefix("http://"), timeout=20)
            try:
                self._read_until_told(connection)
            except (OSError, HTTPException, AssertionError) as error:
                if isinstance(error, AssertionError) or not was_down():
                    self.failures.append(f"{type(error).__name__}: {error}")
                self._stopping.wait(0.05)
            finally:
                connection.close()

    def begin(self) -> Said:
        """What is live now; what was said before is forgotten."""
        generation = self._daemon.model_info()["generation"]
        wait_until(lambda: self.said and self.said[-1].generation == generation, what="an answer by the live model")
        del self.said[:-1]
        return self.said[0]

    def wait_for(self, made: Made) -> None:
        wait_until(lambda: self.said and self.said[-1].sha256 == made.sha256, what=f"an answer by {made.name}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopping.set()
        self.join(20)
        assert not self.is_alive()

    def _read_until_told(self, connection: HTTPConnection) -> None:
        self._ready = False  # a connection ends with the daemon
        while not self._stopping.wait(_READ_SECONDS):
            self._read_predictions(connection)
            self._read_readiness(connection)

    def _read_predictions(self, connection: HTTPConnection) -> None:
        response, body = self._get(connection, "/predictions/current")
        assert response.status == 200, f"{response.status}: {body}"
        if body["predictions"]:
            self._note(read_answer(response.headers, body))

    def _read_readiness(self, connection: HTTPConnection) -> None:
        """Once ready, a daemon is ready until it ends."""
        response, body = self._get(connection, "/ready")
        assert response.status == 200 or not self._ready, f"not ready any more: {body}"
        self._ready = response.status == 200

    def _get(self, connection: HTTPConnection, path: str) -> tuple[HTTPResponse, Any]:
        connection.request("GET", path, headers={"X-API-Key": self._daemon.key})
        response = connection.getresponse()
        self.answers += 1
        return response, json.loads(response.read())

    def _note(self, said: Said) -> None:
        if not self.said or self.said[-1] != said:
            self.said.append(said)


def read_answer(headers: Any, body: Any) -> Said:
    """Raises AssertionError for an answer that contradicts itself."""
    metadata = body["metadata"]
    assert headers["X-Model-Version"] == metadata["model_version"]
    assert headers["X-Model-Generation"] == str(metadata["model_generation"])
    shifts = {measure_shift(body["predictions"][server][metric]) for server in SERVERS for metric in METRICS}
    assert len(shifts) == 1, f"one answer by several models: {shifts}"
    return Said(metadata["model_version"], metadata["model_generation"], metadata["model_sha256"], shifts.pop())


def measure_shift(forecast: Any) -> float:
    """What support.models calls shift, in units of its band, to two places."""
    half_band = (forecast["p90"][0] - forecast["p10"][0]) / 2
    return float(round((forecast["p50"][0] - forecast["current"]) / half_band, 2))


class Site:
    """A daemon at work, what is to be dropped there, and who watches what it answers."""

    def __init__(self, daemon: DaemonProcess, shelf: Shelf) -> None:
        self.daemon = daemon
        self.shelf = shelf
        self.first = shelf.make()

    def __enter__(self) -> Self:
        """Starts the daemon, and has a first version answer for a warm fleet."""
        self.daemon.start()
        self.daemon.feed(warm_fleet())
        self.drop(self.first)
        self.go_live(self.first)
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.kill()

    def drop(self, made: Made) -> None:
        """In one step, as a trainer does it."""
        made.path.rename(self.daemon.models / made.name)

    def go_live(self, made: Made) -> int:
        """The generation of this version, once it is live and what is live is it."""
        info = wait_until(lambda: self._info_of(made), what=f"{made.name} {made.sha256[:8]} to go live")
        assert info["model_name"] == made.name
        generation: int = info["generation"]
        return generation

    def _info_of(self, made: Made) -> Any:
        info = self.daemon.model_info()
        return info if info.get("sha256") == made.sha256 and info.get("model_name") == made.name else None

    def last_reload(self) -> int:
        reloads = self.daemon.get("/admin/reloads")["reloads"]
        return reloads[0]["id"] if reloads else 0

    def reloads_since(self, number: int) -> Sequence[Any]:
        """Oldest first, once none of them is on its way."""

        def finished() -> Sequence[Any]:
            reloads = self.daemon.get("/admin/reloads", params={"limit": 1000})["reloads"]
            return reloads if all(reload["state"] == "finished" for reload in reloads) else ()

        reloads = wait_until(finished, what="all reloads to be finished")
        return [reload for reload in reversed(reloads) if reload["id"] > number]

    def loaded_since(self, number: int) -> list[str]:
        return [reload["version"] for reload in self.reloads_since(number) if reload["outcome"] == "loaded"]

    def watches(self, made: Made) -> Callable[[], None]:
        """A pause: it ends when the daemon has looked at what is there now, and made up its mind about it."""
        heard = self._heard_of(made)

        def pause() -> None:
            nonlocal heard
            wait_until(lambda: self._heard_of(made) > heard, what=f"a word about {made.name}")
            heard = self._heard_of(made)

        return pause

    def _heard_of(self, made: Made) -> int:
        told = self.daemon.log.count(made.name)
        return told + sum(reload["version"] == made.name for reload in self.daemon.get("/admin/reloads")["reloads"])


def make_site(root: Path, **sections: Any) -> Site:
    daemon = DaemonProcess(root / "site", metrics=METRICS, **{**SECTIONS, **sections})
    return Site(daemon, Shelf(root / "shelf"))


def check_goes_live(site: Site, reader: Reader, made: Made, write: Writer) -> None:
    """First the answers from before, then those by `made`, and nothing between; one load in all."""
    before, last = reader.begin(), site.last_reload()
    write(made.path, site.daemon.models / made.name, site.watches(made))
    assert site.go_live(made) == before.generation + 1
    reader.wait_for(made)
    assert reader.said == [before, made.said(before.generation + 1)]
    assert site.loaded_since(last) == [made.name]
    assert reader.failures == []
