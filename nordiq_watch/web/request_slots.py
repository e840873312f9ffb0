"""Bounds the threads held by waiting for reloads and by computing answers.

The server has a fixed number of threads, some of which feeds need at any time. At most half of them wait for reloads,
at most half compute, and a quarter does neither.
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


class RequestSlots:
    """Counts the held threads; thread-safe."""

    def __init__(self, threads: int) -> None:
        half, most = max(1, threads // 2), max(1, threads - max(1, threads // 4))
        self._lock = threading.Lock()
        self._free = {"reload": half, "answer": half}
        self._free_in_all = most

    @contextmanager
    def hold(self, purpose: Purpose) -> Iterator[bool]:
        """Yields whether a slot was free; it is held during the block. Never blocks."""
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


def keep_request_slots(app: Flask, *, threads: int) -> None:
    app.extensions[_EXTENSION] = RequestSlots(threads)


def request_slots() -> RequestSlots:
    """Those of the app that answers the present request."""
    return cast(RequestSlots, current_app.extensions[_EXTENSION])


def computed(view: Callable[_Arguments, _Answer]) -> Callable[_Arguments, _Answer]:
    """For routes whose answer is computed per request: raises Busy at once while too many are computed."""

    @wraps(view)
    def answer(*args: _Arguments.args, **options: _Arguments.kwargs) -> _Answer:
        with request_slots().hold("answer") as held:
            if not held:
                raise Busy("too many other answers are being computed; ask again in a moment")
            return view(*args, **options)

    return answer
