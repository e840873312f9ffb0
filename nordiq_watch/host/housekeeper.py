"""Does what has no thread of its own: retries log file, audit file and lock, and ends the slots of collectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nordiq_watch.parts import Part
from nordiq_watch.worker import Worker

_PAUSE_SECONDS = 5.0


class Housekeeper(Worker):
    """checks: each does what is due, and costs nothing otherwise."""

    def __init__(self, checks: Sequence[Callable[[], None]], *, part: Part | str = "housekeeper") -> None:
        super().__init__(part)
        self._checks = tuple(checks)

    def round(self) -> float:
        self.step()
        return _PAUSE_SECONDS

    def step(self) -> None:
        for check in self._checks:
            check()
