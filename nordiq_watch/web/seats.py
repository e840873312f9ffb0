"""Threads that requests may hold: while they wait for a reload, and while an answer is computed for them.

The server has a fixed number of threads, and feeds need some at any time. At most half of them wait for reloads, at
most half compute, and a quarter does neither, whatever the others do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Literal, ParamSpec, TypeVar, cast

from flask import Flask, current_app

from nordiq_watch.errors import Busy

_EXTENSION = "nordiq_watch.seats"

Purpose = Literal["reload", "answer"]
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class Seats:
    """Counts the threads that are held, from any thread."""

    def __init__(self, threads: int) -> None:
        half, most = max(1, threads // 2), max(1, threads - max(1, threads // 4))
        self._lock = threading.Lock()
        self._free = {"reload": half, "answer": half}
        self._free_in_all = most

    @contextmanager
    def hold(self, purpose: Purpose) -> Iterator[bool]:
        """Whether there was a seat; it is held as long as the block runs. Never waits."""
        held = self._take(purpose)
        try:
            yield held
        finally:
            if held:
                self._give_back(purpose)

    def _take(self, purpose: Purpose) -> bool:
        with self._lock:
            if not self._free[purpose] or not self._free_in_all:
                return False
            self._free[purpose] -= 1
            self._free_in_all -= 1
            return True

    def _give_back(self, purpose: Purpose) -> None:
        with self._lock:
            self._free[purpose] += 1
            self._free_in_all += 1


def keep_seats(app: Flask, *, threads: int) -> None:
    app.extensions[_EXTENSION] = Seats(threads)


def seats() -> Seats:
    """Those of the app that answers the present request."""
    return cast(Seats, current_app.extensions[_EXTENSION])


def computed(view: Callable[_Arguments, _Answer]) -> Callable[_Arguments, _Answer]:
    """For a route whose answer is computed when it is asked for: Busy, and no waiting, while too many others are."""

    @wraps(view)
    def answer(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Answer:
        with seats().hold("answer") as held:
            if not held:
                raise Busy("too many other answers are being computed; ask again in a moment")
            return view(*args, **options)

    return answer
