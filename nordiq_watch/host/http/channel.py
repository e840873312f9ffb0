"""One connection: what it has received, what it has still to send, and since when."""

from __future__ import annotations

import time
from typing import Any

from waitress.channel import HTTPChannel

from nordiq_watch.host.http.tasks import AnswerTask, JsonErrorTask


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """A connection. All its times are monotonic: to waitress, which asks the wall clock, a clock that is set forward
    makes every connection an idle one, and one that is set back keeps them all.

    request_began: when the request that is half read began; None while none is.
    """

    task_class = AnswerTask
    error_task_class = JsonErrorTask

    def __init__(self, *args: Any, **options: Any) -> None:
        self._is_flushing = False
        self.began = time.monotonic()
        self.request_began: float | None = self.began  # the first one is due from now on
        self.silent = True
        super().__init__(*args, **options)

    @property
    def last_activity(self) -> float:
        return self._last_activity

    @last_activity.setter
    def last_activity(self, _: float) -> None:
        self._last_activity = time.monotonic()

    def flush(self) -> None:
        """Sends what the socket takes. From the thread that answers; the loop sends the rest."""
        with self.outbuf_lock:
            if self.connected:
                self._flush_exception(self._flush_some, do_close=False)

    def _flush_some(self, do_close: bool = True) -> bool:
        self._is_flushing = True
        try:
            sent: bool = super()._flush_some(do_close)
            return sent
        finally:
            self._is_flushing = False

    def writable(self) -> bool:
        """Whether the loop should wait until more can be sent. Not while a thread is sending: the socket has room then,
        and the loop would come round thousands of times, holding up the very thread that it waits for.
        """
        return not self._is_flushing and bool(super().writable())

    def received(self, data: bytes) -> bool:
        goes_on: bool = super().received(data)
        self.silent = False
        if self.request is None:
            self.request_began = None
        elif self.request_began is None:
            self.request_began = time.monotonic()
        return goes_on
