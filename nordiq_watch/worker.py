"""The loop of every thread that works for as long as the daemon runs: round after round, until it is stopped.

An exception that nothing foresaw ends the round, never the thread: it is logged with its traceback, the worker's part
fails, and the next round follows after a pause that grows. A round that goes well ends that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nordiq_watch.parts import Part, Parts, PartState

log = logging.getLogger(__name__)

ROUND_SECONDS = 30.0
"""Every loop comes round at least this often, to show that it is not stuck."""

LONGEST_PAUSE_OF_REQUIRED = 5.0
"""Seconds between two attempts of a worker without which there are no forecasts."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 60.0


class Worker:
    """A subclass has `round`, and may have `finish`. One thread calls `run`; `wake`, `stop` and `look` are for any.

    longest_pause_seconds: between two attempts while each round fails.
    """

    def __init__(
        self,
        part: Part | str,
        *,
        longest_pause_seconds: float = _LONGEST_PAUSE_SECONDS,
        pulse: Callable[[], float] = time.monotonic,
    ) -> None:
        self.part = Parts().of(part) if isinstance(part, str) else part
        self._longest_pause_seconds = longest_pause_seconds
        self._pulse = pulse
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._failure_pause = 0.0
        self._beaten_at: float | None = None

    @property
    def stopping(self) -> bool:
        return self._stopped.is_set()

    def round(self) -> float | None:
        """What there is to do now. Returns after how many seconds to call it again; None: when it is woken."""
        raise NotImplementedError

    def finish(self) -> None:
        """What is left to do once it was stopped."""

    def run(self) -> None:
        """Works until `stop`."""
        while not self.stopping:
            self._beat()
            self._woken.clear()
            rest = self._attempt(self.round)
            if self._failure_pause:
                self._stopped.wait(self._failure_pause)
            elif rest != 0.0:
                self._woken.wait(ROUND_SECONDS if rest is None else min(rest, ROUND_SECONDS))
        self._attempt(self.finish)
        self._beaten_at = None

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` after the present round."""
        self._stopped.set()
        self._woken.set()

    def look(self, stuck_seconds: float, *, alive: bool = True) -> str | None:
        """What is wrong with the thread, and tells its part so; None if its loop comes round.

        stuck_seconds: how long one round may take. alive: whether the thread runs.
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
            if not self._failure_pause:
                log.exception("the worker %s failed; it goes on", self.part.name)
            longer = max(_FIRST_PAUSE_SECONDS, 2 * self._failure_pause)
            self._failure_pause = min(longer, self._longest_pause_seconds)
            self.part.fail(f"internal: {type(error).__name__}, the log has the rest")
            return None
        if self._failure_pause:
            self._failure_pause = 0.0
            self.part.recover()
        return rest
