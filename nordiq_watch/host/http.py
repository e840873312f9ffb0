"""The HTTP server: waitress on one socket, bound before it runs and stopped without losing an answer."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask

from nordiq_watch.config import Server
from nordiq_watch.errors import ConfigError

log = logging.getLogger(__name__)

WsgiApp = Callable[..., Any]

_MEGABYTE = 1_000_000
_READ_BEYOND_LIMIT = 2
"""Bodies up to this many times the limit are read to their end, so that their sender gets to read the app's 413: a
connection that is cut while a body is still coming in loses the answer on its way. Above it, it is cut."""

_MAX_HEADER_BYTES = 16 * 1024
"""Of the request line and all headers: this bounds the URL too."""

_RECEIVED_AT_ONCE = 256 * 1024
"""Bytes of one look at a socket; waitress' own 8 KB make 500 looks of a body of 10,000 records."""

_SENT_AT_ONCE = 64 * 1024
"""Bytes of an answer that are gathered before any are sent: its headers and a short body then go out together."""

_CONNECTION_LIMIT = 500
_CROWD = 400
"""With more connections than this, those that have been quiet, or half a request, the longest make room for others."""

_IDLE_SECONDS = 60
_POLL_SECONDS = 1.0
_DRAIN_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0
_FRESH_SECONDS = 0.5
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SHORTAGE_PAUSE_SECONDS = 0.5

_WHY_NOT_BOUND = {
    errno.EADDRINUSE: "another program listens there. Stop it, or set server.port (0 = any free port).",
    errno.EACCES: "this user may not listen there. Ports below 1024 need privileges: choose a higher server.port.",
    errno.EADDRNOTAVAIL: "this machine has no such address. Set server.host to one of its own, or 127.0.0.1.",
}

_IN_OWN_WORDS = {
    413: "the body is far above server.max_body_mb; send smaller batches",
    431: f"the URL and the headers together may have {_MAX_HEADER_BYTES:,} bytes",
}


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]  # waitress ships no types
    """Answers requests that waitress itself refuses, before any app sees them, in the shape of all other errors."""

    def execute(self) -> None:
        error = self.request.error
        # Waitress logs the path when the client is gone, and a request that it could not read has none.
        self.request.path = getattr(self.request, "path", "what could not be read")
        body = json.dumps({"error": error.reason, "detail": _IN_OWN_WORDS.get(error.code, error.body)}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):  # type: ignore[misc]  # waitress ships no types
    """Answers a request, and sends the answer itself: waking the loop to send it would cost two switches of threads."""

    def finish(self) -> None:
        super().finish()
        self.channel.flush()

    def set_close_on_finish(self) -> None:
        """Not for a 304 or 204: waitress would hang up, as after a body of unknown length, and these have none."""
        asked = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked:
            super().set_close_on_finish()


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress ships no types
    """A connection. All its times are monotonic: to waitress, which asks the wall clock, a clock that is set forward
    makes every connection an idle one, and one that is set back keeps them all.

    request_began: when the request that is half read began; None while none is.
    """

    task_class = _Task
    error_task_class = _JsonErrorTask

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


class _Listener(TcpWSGIServer):  # type: ignore[misc]  # waitress ships no types
    """Takes connections in. While the system has no descriptor or memory for one more, it lets them wait in the
    kernel's queue: waitress would ask again at once, thousands of times a second, and log each time.
    """

    channel_class = _Channel
    _accepts_from = 0.0
    _is_short = False

    def maintenance(self, now: float) -> None:
        """Nothing: waitress goes by the wall clock. HttpServer looks for connections to hang up on."""

    def readable(self) -> bool:
        return time.monotonic() >= self._accepts_from and super().readable()

    def accept(self) -> tuple[socket.socket, Any] | None:
        try:
            accepted: tuple[socket.socket, Any] | None = super().accept()
        except OSError as error:
            if error.errno not in _SHORTAGES:
                raise
            if not self._is_short:
                log.error("no new connection can be taken (%s); those that are open go on", error.strerror)
            self._is_short = True
            self._accepts_from = time.monotonic() + _SHORTAGE_PAUSE_SECONDS
            return None
        self._is_short = False
        return accepted


class HttpServer:
    """Serves a WSGI app on one address. The socket is bound, and connections queue, from the constructor on.

    ConfigError, naming host and port, when it cannot be bound. `listener`: a socket that somebody else has bound and
    keeps, in place of host and port; who connects while no server runs waits in its queue for the next one.
    """

    def __init__(
        self,
        app: WsgiApp,
        settings: Server,
        *,
        listener: socket.socket | None = None,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        passed = listener is not None
        listener = listener or _bind(settings.host, settings.port)
        bound_host, self.port = listener.getsockname()[:2]
        self.host: str = bound_host if passed else settings.host
        self._grace_seconds = grace_seconds
        self._request_seconds = settings.request_seconds
        self._stopping = False
        self._closed = False
        self._closing = threading.Lock()
        self._look_at_connections = 0.0
        self._map: dict[int, Any] = {}
        adjustments = Adjustments(
            sockets=[listener],
            threads=settings.threads,
            ident="nordiq_watch",
            max_request_body_size=int(settings.max_body_mb * _MEGABYTE * _READ_BEYOND_LIMIT) + 1,
            connection_limit=_CONNECTION_LIMIT,
            max_request_header_size=_MAX_HEADER_BYTES,
            recv_bytes=_RECEIVED_AT_ONCE,
            **_proxy_settings(settings.trusted_proxy),
        )
        adjustments.send_bytes = _SENT_AT_ONCE  # deprecated as an argument: a release without it sends twice, no more
        address = (listener.family, listener.type, listener.proto, listener.getsockname())
        self._server = _Listener(app, self._map, True, listener, adj=adjustments, sockinfo=address, bind_socket=False)

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the server."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """Answers requests until `stop`. Returns when those in flight are answered, or the grace period is over.

        `beat` is called each time that the loop comes round, at least once in two seconds.
        """
        while not self._stopping:
            beat()
            self._poll(_POLL_SECONDS)
            self._hang_up_on_the_slow()
        self._drain()
        self._close()

    def stop(self) -> None:
        """Makes `run` return. From any thread or a signal handler; a second call changes nothing."""
        if self._stopping:
            return
        self._stopping = True
        with self._closing:
            if not self._closed:  # a closed trigger's descriptor may already be somebody else's
                self._server.pull_trigger()

    def _poll(self, timeout_seconds: float) -> None:
        wasyncore.poll2(timeout_seconds, self._map)

    def _hang_up_on_the_slow(self) -> None:
        """Those that say nothing, and those that send a byte now and then. No thread waits for either, but connections
        are limited.
        """
        now = time.monotonic()
        if now < self._look_at_connections:
            return
        self._look_at_connections = now + _POLL_SECONDS
        channels = list(self._server.active_channels.values())
        for channel in channels:
            is_slow = channel.request_began is not None and channel.request_began < now - self._request_seconds
            is_idle = channel.last_activity < now - _IDLE_SECONDS
            if (is_slow or is_idle) and not channel.requests:
                channel.will_close = True
        waiting = sorted((channel for channel in channels if not channel.requests), key=_waiting_since)
        for channel in waiting[: max(0, len(channels) - _CROWD)]:
            channel.will_close = True

    def _drain(self) -> None:
        """Takes no more connections, reads what has arrived, answers it, and hangs up on those who have nothing due."""
        channels: dict[int, Any] = self._server.active_channels
        self._accept_waiting(channels)
        wasyncore.dispatcher.close(self._server)  # the listening socket alone; its workers and trigger go on
        deadline = time.monotonic() + self._grace_seconds
        while channels and time.monotonic() < deadline:
            self._poll(_DRAIN_POLL_SECONDS)
            for channel in list(channels.values()):
                channel.will_close = channel.will_close or _is_idle(channel)
        if channels:
            log.warning("stopped with %d connections unanswered after %g s", len(channels), self._grace_seconds)

    def _accept_waiting(self, channels: Mapping[int, Any]) -> None:
        """Takes in those who wait in the kernel's queue: closing the socket would cut them off."""
        known = -1
        while known != len(channels):
            known = len(channels)
            self._server.handle_accept()

    def _close(self) -> None:
        self._server.task_dispatcher.shutdown(timeout=1)
        with self._closing:
            self._closed = True
            self._server.trigger.close()
            wasyncore.close_all(self._map)


def _waiting_since(channel: _Channel) -> float:
    return channel.last_activity if channel.request_began is None else channel.request_began


def _is_idle(channel: _Channel) -> bool:
    """Whether a connection has no request half read, none being answered and nothing left to send.

    One that has just begun and sent nothing yet is not idle: its first request may be on the way.
    """
    fresh = channel.silent and time.monotonic() < channel.began + _FRESH_SECONDS
    return not (fresh or channel.request or channel.requests or channel.total_outbufs_len)


def _proxy_settings(trusted_proxy: str | None) -> dict[str, Any]:
    """Waitress drops X-Forwarded-* of all others, so that nobody can claim to come from elsewhere."""
    if trusted_proxy is None:
        return {"clear_untrusted_proxy_headers": True}
    return {
        "trusted_proxy": trusted_proxy,
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"},
        "clear_untrusted_proxy_headers": True,
    }


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        why = _why_not_bound(getattr(error, "errno", None))
        raise ConfigError(f"server.host {host}, server.port {port}: {why}") from None


def _why_not_bound(number: int | None) -> str:
    if number is None or number < 0:  # the resolver's errors are negative, the kernel's positive
        return "no such host is known. Set server.host to an address of this machine, or 127.0.0.1."
    return _WHY_NOT_BOUND.get(number, f"cannot listen there ({os.strerror(number)}).")
