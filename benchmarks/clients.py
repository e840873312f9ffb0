"""Clients in a closed loop: each asks again as soon as it has its answer. They run in a process of their own, so that
nothing but the server's slowness shows in what they measure.

As a program (that is how `Clients` starts it): python clients.py URL PATH KEY COUNT FILE
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

_PATIENCE_SECONDS = 60.0
NO_ANSWER = 0
"""The status of a request whose connection broke."""


@dataclass(frozen=True, eq=False)
class Requests:
    """One entry a request, in order of the answers. begin, end: monotonic seconds, comparable between processes.

    version: the X-Model-Version of the answer, empty without one.
    """

    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    status: NDArray[np.int64]
    version: NDArray[np.str_]

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path) as arrays:
            order = np.argsort(arrays["end"])
            return cls(*(arrays[name][order] for name in ("begin", "end", "status", "version")))

    def __len__(self) -> int:
        return len(self.end)

    @property
    def seconds(self) -> NDArray[np.float64]:
        return self.end - self.begin

    def during(self, start: float, stop: float) -> Requests:
        """Those that were on their way at some moment between start and stop."""
        return self.where((self.end > start) & (self.begin < stop))

    def between(self, start: float, stop: float) -> Requests:
        """Those that began after start and were answered before stop."""
        return self.where((self.begin > start) & (self.end < stop))

    def where(self, chosen: NDArray[np.bool_]) -> Requests:
        return Requests(self.begin[chosen], self.end[chosen], self.status[chosen], self.version[chosen])

    def first_answer_by(self, version: str) -> float:
        """When the first answer of this version was there; NaN if there was none."""
        ends = self.end[self.version == version]
        return float(ends[0]) if len(ends) else float("nan")

    @property
    def longest_gap(self) -> float:
        """The longest time, in seconds, in which no client got an answer."""
        return float(np.diff(self.end).max(initial=0.0))


class Clients:
    """Runs `count` clients from `with` to `stop`."""

    def __init__(self, url: str, path: str, *, key: str, count: int, file: Path) -> None:
        self._arguments = [sys.executable, __file__, url, path, key, str(count), str(file)]
        self._file = file

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._arguments, stdin=subprocess.PIPE)
        return self

    def stop(self) -> Requests:
        self._process.communicate(timeout=_PATIENCE_SECONDS)  # closes its stdin, which is the signal
        if self._process.returncode != 0:
            raise RuntimeError("the clients failed")
        return Requests.load(self._file)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()


Entry = tuple[float, float, int, str]


def ask_in_a_loop(url: str, path: str, key: str, stop: threading.Event) -> list[Entry]:
    """One client, one connection. An error counts as an answer with status 0; then it connects again."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=_PATIENCE_SECONDS)
    headers = {"X-API-Key": key}
    entries: list[Entry] = []
    while not stop.is_set():
        begin = time.monotonic()
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            status, version = response.status, response.headers.get("X-Model-Version", "")
        except (OSError, HTTPException):
            connection.close()
            status, version = NO_ANSWER, ""
        entries.append((begin, time.monotonic(), status, version))
    connection.close()
    return entries


def main(url: str, path: str, key: str, count: str, file: str) -> None:
    gc.disable()  # its pauses would be taken for the server's
    stop = threading.Event()
    kept: list[list[Entry]] = []
    threads = [
        threading.Thread(target=lambda: kept.append(ask_in_a_loop(url, path, key, stop))) for _ in range(int(count))
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    columns: Any = zip(*(entry for entries in kept for entry in entries), strict=True)
    begin, end, status, version = map(np.asarray, columns)
    np.savez(file, begin=begin, end=end, status=status, version=version)


if __name__ == "__main__":
    main(*sys.argv[1:])
