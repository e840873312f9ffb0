"""The HTTP server: waitress on one socket, bound before it runs and stopped without losing an answer."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments

from nordiq_watch.config import Server
from nordiq_watch.host.http.channel import Channel
from nordiq_watch.host.http.listener import Listener, bind
from nordiq_watch.host.http.proxy import proxy_settings
from nordiq_watch.host.http.tasks import MAX_HEADER_BYTES

log = logging.getLogger(__name__)

WsgiApp = Callable[..., Any]

_MEGABYTE = 1_000_000
_READ_BEYOND_LIMIT = 2
"""Bodies up to this many times the limit are read to their end, so that their sender gets to read the app's 413: a
connection that is cut while a body is still coming in loses the answer on its way. Above it, it is cut."""

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
        listener = listener or bind(settings.host, settings.port)
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
            max_request_header_size=MAX_HEADER_BYTES,
            recv_bytes=_RECEIVED_AT_ONCE,
            **proxy_settings(settings.trusted_proxy),
        )
        adjustments.send_bytes = _SENT_AT_ONCE  # deprecated as an argument: a release without it sends twice, no more
        address = (listener.family, listener.type, listener.proto, listener.getsockname())
        self._server = Listener(app, self._map, True, listener, adj=adjustments, sockinfo=address, bind_socket=False)

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


def _waiting_since(channel: Channel) -> float:
    return channel.last_activity if channel.request_began is None else channel.request_began


def _is_idle(channel: Channel) -> bool:
    """Whether a connection has no request half read, none being answered and nothing left to send.

    One that has just begun and sent nothing yet is not idle: its first request may be on the way.
    """
    fresh = channel.silent and time.monotonic() < channel.began + _FRESH_SECONDS
    return not (fresh or channel.request or channel.requests or channel.total_outbufs_len)
