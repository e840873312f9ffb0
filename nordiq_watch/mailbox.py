"""A bounded queue of events from one thread to another, which counts what it drops."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nordiq_watch.parts import Part

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Forget:
    """A request to forget everything about a server. done: whether anything was known of it."""

    server: str
    done: Future[bool] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Rename:
    """A request to know servers by other names, with all their past. names: old → new."""

    names: Mapping[str, str]
    done: Future[None] = field(default_factory=Future)


class Mailbox(Generic[T]):
    """First in, first out. Beyond `size` the oldest event is dropped, counted and reported by `part`. Thread-safe."""

    def __init__(self, size: int, *, part: Part) -> None:
        self._size = size
        self._part = part
        self._lock = threading.Lock()
        self._waiting: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: T) -> None:
        with self._lock:
            full = len(self._waiting) >= self._size
            if full:
                self._waiting.popleft()
            self._waiting.append(event)
        if full:
            self._part.drop()

    def first(self) -> T | None:
        """The oldest event, which stays in the queue until `remove`; None if the queue is empty."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def remove(self, event: T) -> None:
        """Removes the event that `first` returned, unless it was dropped meanwhile."""
        with self._lock:
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()

    def take_all(self) -> list[T]:
        """Removes and returns all events, oldest first."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken
