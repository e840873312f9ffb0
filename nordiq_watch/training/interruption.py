"""SIGINT (Ctrl-C) and SIGTERM as requests to stop, which wait where a half-done step would be a loss."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end. `exit_code` is what shells report for a process that it ended: 130 or 143."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class StopRequest:
    """Whether a signal asked for the end. Without `listening`, none ever does, and signals act as they did."""

    def __init__(self) -> None:
        self._signal_number: int | None = None
        self._deferring = False
        self._taken: tuple[signal.Signals, ...] = ()

    @property
    def is_pending(self) -> bool:
        """Whether a signal came inside of `deferred` that was not raised yet."""
        return self._signal_number is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals over for the block; in the main thread only. One that is ignored stays ignored, as SIGINT
        is in a background job of a shell script.
        """
        previous = {number: signal.getsignal(number) for number in _SIGNALS}
        self._taken = tuple(number for number, handler in previous.items() if handler is not signal.SIG_IGN)
        self.take_over()
        try:
            yield
        finally:
            self._taken = ()
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """In the block, the first signal is only noted; a second one raises Interrupted at once."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def raise_pending(self) -> None:
        """Raises Interrupted if a signal was noted."""
        if self._signal_number is not None:
            self._raise(self._signal_number)

    def take_over(self) -> None:
        """Takes the signals over again, after a library put its own handlers there; only while listening."""
        for number in self._taken:
            signal.signal(number, self._handle)

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self._deferring and self._signal_number is None:
            self._signal_number = signal_number
        else:
            self._raise(signal_number)

    def _raise(self, signal_number: int) -> NoReturn:
        self._signal_number = None
        raise Interrupted(signal_number)
