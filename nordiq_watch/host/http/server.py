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

from nordiq_watch.config.addresses import url_of
from nordiq_watch.config.schema import ServerSettings
from nordiq_watch.host.file_handles import count_allowed_files
from nordiq_watch.host.http.channel import Channel
from nordiq_watch.host.http.counts import ConnectionCounts
from nordiq_watch.host.http.limits import MAX_HEADER_BYTES, MEGABYTE, READ_BEYOND_LIMIT, SENT_AT_ONCE, find_bounds
from nordiq_watch.host.http.listener import Listener, bind
from nordiq_watch.host.http.proxy import ForwardedHeaders
from nordiq_watch.host.http.request import Admit
from nordiq_watch.host.http.timeouts import Timeouts

log = logging.getLogger(__name__)

WsgiApp = Callable[..., Any]

_POLL_SECONDS = 1.0
_DRAIN_POLL_SECONDS = 0.05
_GRACE_SECONDS = 10.0
_FRESH_SECONDS = 0.5
_POLL_SECONDS_OF_A_FULL_HOUSE = 0.05
_NEVER_TO_DISK = 1 << 62


class HttpServer:
    """Serves a WSGI app on one address. The socket is bound, and connections queue, from construction on.

    Raises ConfigError with host and port if it cannot be bound. `listener`: a socket that another process has bound and
    keeps, instead of host and port; connections made while no server runs wait in its queue for the next one. `admit`
    decides, from a request's head, how large its body may be; without it the limit is the same for all. `tally` counts
    closed connections and refused bodies.
    """

    def __init__(
        self,
        app: WsgiApp,
        settings: ServerSettings,
        *,
        listener: socket.socket | None = None,
        grace_seconds: float = _GRACE_SECONDS,
        admit: Admit | None = None,
        tally: ConnectionCounts | None = None,
    ) -> None:
        passed = listener is not None
        listener = listener or bind(settings.host, settings.port)
        bound_host, self.port = listener.getsockname()[:2]
        self.host: str = bound_host if passed else settings.host
        self._grace_seconds = grace_seconds
        self._stopping = False
        self._closed = False
        self._closing = threading.Lock()
        self._looked_at = -_POLL_SECONDS
        self._map: dict[int, Any] = {}
        bounds, tally = find_bounds(settings, files=count_allowed_files()), tally or ConnectionCounts()
        self._patience = Timeouts(bounds, tally, request_seconds=settings.request_seconds)
        self._server = Listener(
            ForwardedHeaders(app, settings.trusted_proxy),
            self._map,
            listener,
            adjustments=_adjust(settings, listener),
            bounds=bounds,
            admit=admit,
            tally=tally,
        )

    @property
    def url(self) -> str:
        """The address for clients on this machine."""
        return url_of(self.host, self.port)

    def run(self, beat: Callable[[], None] = lambda: None) -> None:
        """Answers requests until `stop`. Returns when those in flight are answered, or after the grace period.

        `beat` is called in each round of the loop, at least every two seconds.
        """
        while not self._stopping:
            beat()
            self._poll(self._poll_seconds)
            self._hang_up_on_the_slow()
        self._drain()
        self._close()

    def stop(self) -> None:
        """Makes `run` return. For any thread or a signal handler; further calls have no effect."""
        if self._stopping:
            return
        self._stopping = True
        with self._closing:
            if not self._closed:  # a closed trigger's descriptor may already be reused
                self._server.pull_trigger()

    def _poll(self, timeout_seconds: float) -> None:
        wasyncore.poll2(timeout_seconds, self._map)

    @property
    def _poll_seconds(self) -> float:
        return _POLL_SECONDS_OF_A_FULL_HOUSE if self._server.is_full else _POLL_SECONDS

    def _hang_up_on_the_slow(self) -> None:
        now = time.monotonic()
        if now >= self._looked_at + self._poll_seconds:
            self._looked_at = now
            self._patience.look(self._server.active_channels.values())

    def _drain(self) -> None:
        """Accepts no more connections, reads and answers requests that have arrived, and closes idle connections."""
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
        """Accepts connections waiting in the kernel's queue, which closing the socket would cut off."""
        known = -1
        while known != len(channels) and not self._server.is_full:
            known = len(channels)
            self._server.handle_accept()

    def _close(self) -> None:
        self._server.task_dispatcher.shutdown(timeout=1)
        with self._closing:
            self._closed = True
            self._server.trigger.close()
            wasyncore.close_all(self._map)


def _is_idle(channel: Channel) -> bool:
    """True if a connection has nothing due.

    A connection that has just begun and sent nothing yet is not idle: its first request may be on the way.
    """
    fresh = channel.silent and time.monotonic() < channel.began + _FRESH_SECONDS
    return channel.is_at_rest and not fresh


def _adjust(settings: ServerSettings, listener: socket.socket) -> Adjustments:
    """Waitress' own settings. Bodies and answers stay in memory, bounded elsewhere: files would take handles and disk
    space that unauthenticated clients could exhaust.
    """
    adjustments = Adjustments(
        sockets=[listener],
        threads=settings.threads,
        ident="nordiq_watch",
        max_request_body_size=int(settings.max_body_mb * MEGABYTE * READ_BEYOND_LIMIT) + 1,
        max_request_header_size=MAX_HEADER_BYTES,
        inbuf_overflow=_NEVER_TO_DISK,
        outbuf_overflow=_NEVER_TO_DISK,
        log_socket_errors=False,  # a traceback for each connection that breaks
        url_prefix=settings.url_prefix,
        clear_untrusted_proxy_headers=False,  # ForwardedHeaders does it
    )
    adjustments.send_bytes = SENT_AT_ONCE  # deprecated as an argument: a release without it sends twice, no more
    return adjustments
