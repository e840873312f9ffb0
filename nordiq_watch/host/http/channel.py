"""One connection: what it has received, what it has still to send, and since when.

No thread ever waits for a client here, with one exception: an app that sends an answer in pieces. So one request is
read at a time, and none before the answer to the one before it has been handed to the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from waitress.channel import HTTPChannel

from nordiq_watch.host.http.limits import BODY_READ_AT_ONCE, READ_AT_ONCE, SENT_AT_ONCE
from nordiq_watch.host.http.request import Request
from nordiq_watch.host.http.sending import SharedBytes, count_unacknowledged
from nordiq_watch.host.http.tasks import AnswerTask, JsonErrorTask
from nordiq_watch.host.http.unwanted import UnwantedBody

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """A connection. All its times are monotonic: to waitress, which asks the wall clock, a clock that is set forward
    makes every connection an idle one, and one that is set back keeps them all.

    request_began: when the request that is half read began; None while none is.
    was_sent_ahead: the request that waits for a thread was sent before the answer to the one before it.
    thread_waits_since: when a thread began to wait until more can be sent; None while none does.
    """

    request: Request | None = None
    requests: list[Request]
    sent_continue: bool
    close_when_flushed: bool
    total_outbufs_len: int
    task_class = AnswerTask
    error_task_class = JsonErrorTask

    def __init__(self, server: Any, *args: Any, **options: Any) -> None:
        self._is_flushing = False
        self.began = time.monotonic()
        self.request_began: float | None = self.began  # the first one is due from now on
        self.silent = True
        self.sent_bytes = 0
        self.was_sent_ahead = False
        self.is_in_service = False
        self.thread_waits_since: float | None = None
        self._unparsed = b""
        self._takes_no_more = False
        self._unwanted = UnwantedBody(server.bounds.discarded_bytes)
        self.parser_class = partial(Request, admit=server.admit)
        super().__init__(server, *args, **options)

    @property
    def last_activity(self) -> float:
        return self._last_activity

    @last_activity.setter
    def last_activity(self, _: float) -> None:
        self._last_activity = time.monotonic()

    @property
    def address(self) -> str:
        return str(self.addr[0])

    @property
    def is_at_rest(self) -> bool:
        """Nothing is half read, waits to be read or answered, or has still to be sent."""
        return not (self.request or self.requests or self._unparsed or self.total_outbufs_len)

    @property
    def lingers_until(self) -> float | None:
        """Until when the rest of a refused body is thrown away; None before that."""
        return self._unwanted.until

    # --- receiving ------------------------------------------------------------------------------------------------

    def readable(self) -> bool:
        if self.lingers_until is not None:
            return not self.will_close
        return not self._takes_no_more and not self._unparsed and bool(super().readable())

    def handle_read(self) -> None:
        if self.lingers_until is not None:
            if self._unwanted.discard(self.socket):
                self.handle_close()
            return
        try:
            data = self.recv(self._bytes_to_read())
        except OSError:
            self.handle_close()
            return
        if data:
            self.last_activity = 0.0
            self.received(data)
            if self.unfinished_bytes:
                self.server.room.grew(len(data), self.server.active_channels.values())

    def _bytes_to_read(self) -> int:
        request = self.request
        in_body = request is not None and request.is_reading_body and not request.chunked
        return BODY_READ_AT_ONCE if in_body else READ_AT_ONCE

    def received(self, data: bytes) -> bool:
        """From the loop's thread."""
        self.silent = False
        with self.requests_lock:
            self._unparsed = self._unparsed + data if self._unparsed else data
            self._read_request(sent_ahead=False)
        return True

    def read_on(self) -> None:
        """Reads the next of the requests that were sent ahead, if it is its turn. From any thread."""
        with self.requests_lock:
            self._read_request(sent_ahead=True)

    def _read_request(self, *, sent_ahead: bool) -> None:
        while self._unparsed and self._may_read_request():
            request = self.request or self.parser_class(self.adj)
            self.request = request
            consumed = request.received(self._unparsed)
            self._unparsed = self._unparsed[consumed:]
            if request.completed:
                self._queue(request, sent_ahead=sent_ahead)
                continue
            if self.request_began is None:
                self.request_began = time.monotonic()
            if request.expect_continue and request.headers_finished and not self.sent_continue:
                self._send_continue(request)

    def _may_read_request(self) -> bool:
        is_ending = self.will_close or self.close_when_flushed or self._takes_no_more or not self.connected
        return not (is_ending or self.requests or self.total_outbufs_len)

    def _queue(self, request: Request, *, sent_ahead: bool) -> None:
        self.request, self.request_began = None, None
        self.sent_continue = False
        if request.empty:
            return
        if request.left_out is not None:
            self.server.tally.count_left_out(request.left_out, self.address)
        if request.leaves_rest:
            self._takes_no_more = True
            self._unparsed = b""
        self.was_sent_ahead = sent_ahead
        self.requests.append(request)
        self.server.add_task(self)

    def _send_continue(self, request: Request) -> None:
        """As waitress does it, but the loop sends it: sending may close, which must not happen under this lock."""
        request.expect_continue = False
        with self.outbuf_lock:
            self.outbufs[-1].append(_CONTINUE)
            self.current_outbuf_count += len(_CONTINUE)
            self.total_outbufs_len += len(_CONTINUE)
            self.sent_continue = True
        self.server.pull_trigger()

    # --- bodies ---------------------------------------------------------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """Of bodies, in memory."""
        waiting = sum(request.held_bytes for request in list(self.requests))
        return waiting + self.unfinished_bytes

    @property
    def unfinished_bytes(self) -> int:
        request = self.request
        return request.held_bytes if request is not None else 0

    @property
    def is_known(self) -> bool:
        """Whether the request that it holds came with a right key."""
        request = self.request or next(iter(self.requests), None)
        return request is not None and request.is_known

    def give_up_body(self) -> None:
        """Answers the request that is half read as it is, without its body: there is no memory for it."""
        with self.requests_lock:
            request = self.request
            if request is not None and request.is_reading_body:
                request.leave_out("no_room")
                self._queue(request, sent_ahead=False)

    # --- answering and sending ------------------------------------------------------------------------------------

    def service(self) -> None:
        with self.requests_lock:
            if not self.connected or not self.requests:  # it was closed while it waited for this thread
                self.requests = []
                return
            self.is_in_service = True
        try:
            super().service()
        finally:
            self.is_in_service = False
        self.read_on()

    def write_soon(self, data: Any) -> int:
        """A long piece is not copied: all who are sent the same bytes share them."""
        if isinstance(data, bytes) and len(data) > SENT_AT_ONCE:
            data = SharedBytes(data)
        written: int = super().write_soon(data)
        return written

    def _flush_outbufs_below_high_watermark(self) -> None:
        self.thread_waits_since = time.monotonic()
        try:
            super()._flush_outbufs_below_high_watermark()
        finally:
            self.thread_waits_since = None

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

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent: int = super().send(data, do_close)
        self.sent_bytes += sent or 0
        return sent

    def writable(self) -> bool:
        """Whether the loop should wait until more can be sent. Not while a thread is sending: the socket has room then,
        and the loop would run thousands of times, holding up the very thread that it waits for.
        """
        return not self._is_flushing and bool(super().writable())

    def handle_write(self) -> None:
        is_refused = self._takes_no_more and self.close_when_flushed and not self.will_close
        if is_refused:
            self.close_when_flushed = False  # waitress would cut the connection, and the answer with it
        super().handle_write()
        if not self.connected:
            return
        if not is_refused:
            self.read_on()
        elif self.total_outbufs_len:
            self.close_when_flushed = True
        elif not self._unwanted.begin(self.socket):
            self.handle_close()

    @property
    def taken_bytes(self) -> int:
        """Of what was sent, those that the client's machine has acknowledged."""
        return self.sent_bytes - count_unacknowledged(self.socket)

    def unsent(self) -> Iterator[tuple[int, int]]:
        """(which, bytes) of what waits to be sent; shared bytes have the same `which` on all connections."""
        for buffer in list(self.outbufs):
            if isinstance(buffer, SharedBytes):
                yield id(buffer.source), len(buffer.source)
            else:
                yield id(buffer), buffer.__len__()

    # --- ending ---------------------------------------------------------------------------------------------------

    def handle_close(self) -> None:
        """At once, whatever is under way: a thread that waits until more can be sent is freed."""
        super().handle_close()
        self._unparsed = b""
        if self.requests_lock.acquire(blocking=False):  # a thread that holds it frees them itself
            try:
                self._free_bodies()
            finally:
                self.requests_lock.release()

    def _free_bodies(self) -> None:
        self.request = None
        if not self.is_in_service:
            for request in self.requests:
                request.drop_unused()
