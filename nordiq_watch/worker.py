"""The loop of every long-lived thread: round after round, until it is stopped.

An unforeseen exception ends the round, never the thread: it is logged with its traceback, the worker's part fails, and
the next round follows after a growing pause. A successful round ends that state.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nordiq_watch.api.enums import PartState
from nordiq_watch.backoff import Backoff
from nordiq_watch.parts import Part, Parts

log = logging.getLogger(__name__)

ROUND_SECONDS = 30.0
"""Every loop has a round at least this often, to show that it is not stuck."""

LONGEST_PAUSE_OF_REQUIRED = 5.0
"""Longest pause, in seconds, between attempts of a worker that forecasts depend on."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 60.0


class Worker:
    """Subclasses implement `round` and may implement `finish`. One thread calls `run`; `wake`, `stop` and `look` are
    for any thread.

    longest_pause_seconds: between two attempts while rounds fail.
    """

    def __init__(
        self,
        part: Part | str,
        *,
        longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS,
        pulse: Callable[[], float] = time.monotonic,
    ) -> None:
        self.part = Parts().of(part) if isinstance(part, str) else part
        self._failures = Backoff(first_seconds=_FIRST_PAUSE_SECONDS, longest_seconds=longest_pause_seconds)
        self._pulse = pulse
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._beaten_at: float | None = None

    @property
    def stopping(self) -> bool:
        return self._stopped.is_set()

    def round(self) -> float | None:
        """Does the pending work. Returns the seconds until the next call, or None to wait for `wake`."""
        raise NotImplementedError

    def finish(self) -> None:
        """Does the remaining work after `stop`."""

    def run(self) -> None:
        """Runs rounds until `stop`."""
        while not self.stopping:
            self._beat()
            rest = self._attempt(self.round)
            if self._failures.pause_seconds:
                self._stopped.wait(self._failures.pause_seconds)
            elif rest != 0.0:
                self._woken.wait(ROUND_SECONDS if rest is None else min(rest, ROUND_SECONDS))
            self._woken.clear()  # before `stopping` is read, so that a `stop` in between ends the next wait at once
        self._attempt(self.finish)
        self._beaten_at = None

    def wake(self) -> None:
        """Triggers a round."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after the present round."""
        self._stopped.set()
        self._woken.set()

    def look(self, stuck_seconds: float, *, alive: bool = True) -> str | None:
        """Describes what is wrong with the thread and reports it to its part; None if rounds take place.

        stuck_seconds: longest time for one round. alive: whether the thread is running.
        """
        beaten_at = self._beaten_at
        if not alive and not self.stopping:
            return self._tell("ended", PartState.ENDED)
        if beaten_at is None:
            return None  # it has not begun, or is stopped
        busy = self._pulse() - beaten_at
        if busy > stuck_seconds:
            return self._tell(f"has been busy for {busy:.0f} s", PartState.STUCK)
        return None

    def _tell(self, what: str, state: PartState) -> str:
        fault = f"the thread {self.part.name} {what}"
        if self.part.status.state is not state:
            self.part.fail(fault, state=state)
        return fault

    def _beat(self) -> None:
        self._beaten_at = self._pulse()
        if self.part.status.state is PartState.STUCK:
            self.part.recover()

    def _attempt(self, work: Callable[[], float | None]) -> float | None:
        try:
            rest = work()
        except Exception as error:  # the top of the thread: it must go on
            if not self._failures.pause_seconds:
                log.exception("the worker %s failed; it goes on", self.part.name)
            self._failures.fail()
            self.part.fail(f"internal: {type(error).__name__}, the log has the rest")
            return None
        if self._failures.pause_seconds:
            self._failures.reset()
            self.part.recover()
        return rest
