"""Talks to systemd: sd_notify(3), the watchdog, and passed sockets.

The protocol is one datagram of `NAME=value` lines to the socket in NOTIFY_SOCKET (sd_notify(3); an address that begins
with `@` is abstract). Passed sockets begin at descriptor 3 (sd_listen_fds(3)). Without systemd everything here does
nothing.
"""

from __future__ import annotations

import http.client
import logging
import socket
import time
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

from nordiq_watch.config.environment import Supervision
from nordiq_watch.errors import ConfigError
from nordiq_watch.parts import Part
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, Worker

log = logging.getLogger(__name__)

_FIRST_PASSED = 3
_ASK_AGAIN_SECONDS = 0.1
_ANSWER_SECONDS = 5.0
_SEND_SECONDS = 1.0
_CHECK_SECONDS = 5.0


def passed_socket(supervision: Supervision) -> socket.socket | None:
    """The listening socket that systemd holds for this service, or None. ConfigError if it is unusable."""
    if not supervision.passed_sockets:
        return None
    if supervision.passed_sockets > 1:
        found = supervision.passed_sockets
        raise ConfigError(f"systemd passes {found} sockets, but one is served: leave one ListenStream= in the .socket")
    try:
        listener = socket.socket(fileno=_FIRST_PASSED)
        listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(f"the socket that systemd passes cannot be used ({error.strerror})") from None
    if not listens or listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise ConfigError("the socket that systemd passes is no listening TCP socket: use ListenStream=HOST:PORT")
    listener.set_inheritable(False)
    return listener


class ServiceManager:
    """Reports the service's state to systemd. Methods are thread-safe and never raise."""

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address

    def ready(self, status: str) -> None:
        self._tell(READY="1", STATUS=status)

    def status(self, status: str) -> None:
        self._tell(STATUS=status)

    def reloading(self) -> None:
        self._tell(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        self._tell(STOPPING="1", STATUS="stopping")

    def ping(self) -> None:
        self._tell(WATCHDOG="1")

    def _tell(self, **assignments: str) -> None:
        if self._address is None:
            return
        message = "\n".join(f"{name}={' '.join(value.split())}" for name, value in assignments.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.connect(self._address)
                sender.send(message.encode())
        except OSError as error:
            log.warning("systemd could not be told %s (%s)", next(iter(assignments)), error.strerror or error)


class Heartbeats:
    """Last heartbeat of each loop that is not a Worker (the HTTP server's). Names loops that stand still.

    stuck_seconds: longest time for one round. If the whole process hangs, the missing ping reveals it sooner.
    """

    def __init__(self, *, stuck_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stuck_seconds = stuck_seconds
        self._beaten: dict[str, float] = {}

    def of(self, name: str) -> Callable[[], None]:
        """The function that this thread's loop calls in each round. Counts from now on."""

        def beat() -> None:
            self._beaten[name] = self._clock()

        beat()
        return beat

    def missing(self) -> str | None:
        """Describes a loop without a recent heartbeat, or returns None."""
        now = self._clock()
        for name, at in list(self._beaten.items()):
            if now - at > self._stuck_seconds:
                return f"the thread {name} has been busy for {now - at:.0f} s"
        return None


class WatchdogNotifier(Worker):
    """The thread that reports READY once the API answers, and pings while all threads are well."""

    def __init__(
        self,
        manager: ServiceManager,
        *,
        url: str,
        watchdog_seconds: float | None,
        find_fault: Callable[[], str | None],
        describe: Callable[[], str],
        part: Part | str = "watchdog",
    ) -> None:
        super().__init__(part, longest_pause_seconds=LONGEST_PAUSE_OF_REQUIRED)
        self._manager = manager
        self._url = url
        self._check_seconds = _CHECK_SECONDS if watchdog_seconds is None else watchdog_seconds / 2
        self._find_fault = find_fault
        self._describe = describe
        self._is_ready = False
        self._fault: str | None = None

    def round(self) -> float:
        """READY once the API answers; afterwards one ping per round."""
        if not self._is_ready:
            if not answers(self._url):
                return _ASK_AGAIN_SECONDS
            self._manager.ready(self._describe())
            self._is_ready = True
        self.step()
        return self._check_seconds

    def step(self) -> None:
        """One ping, unless there is a fault, which is logged once."""
        fault = self._find_fault()
        if fault is None:
            self._manager.ping()
        elif fault != self._fault and not self.stopping:
            log.error("the watchdog is not pinged any more: %s", fault)
        self._fault = fault


def answers(url: str) -> bool:
    """True if an HTTP server answers there; a refusal counts as an answer."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_SECONDS)) as connection:
        try:
            connection.request("GET", "/health")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
    return True
