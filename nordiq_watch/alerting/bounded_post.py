"""One POST to an untrusted server, bounded in time and memory whatever that server does.

requests' own timeout is the longest pause between two bytes: a server that sends a byte a second holds a request for
ever. Here one deadline ends the exchange from the first packet to the last: when it passes, the connection is shut down
under whatever is waiting for it, in the TLS handshake as well as in the body. Of the answer at most 64 KB are read.
Only the look-up of the name is left to the system's resolver, which has limits of its own (resolv.conf).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_auth_from_url
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from nordiq_watch.alerting.proxies import choose_proxy

MOST_BYTES = 65_536
"""Of the body of an answer; the rest is not read."""

_SHOWN_CHARACTERS = 200
_RESET_AT_ONCE = struct.pack("ii", 1, 0)  # when it is closed, what is still on its way does not keep it
_SHORTEST_SECONDS = 0.001  # a timeout of 0 would mean: do not wait at all
_HEADERS = {"Content-Type": "application/json", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Reply:
    """status: of HTTP. text: the beginning of the body, in one line."""

    status: int
    text: str


class NotAnswered(Exception):
    """The server did not take the request; the message says why, without the URL, which may hold a password."""


class Exchange:
    """POSTs to one URL. One thread at a time.

    A receiver in a private network is asked directly, whatever HTTP_PROXY says, unless `proxy` tells otherwise
    (`alerting.proxies`). Logins of .netrc are never used, only the one that the URL itself holds.
    """

    def __init__(self, url: str, *, seconds: float, proxy: str | None = None) -> None:
        self._url = url
        self._seconds = seconds
        self._proxy = proxy
        self._deadline = Deadline()
        self._session = requests.Session()
        self._adapter = _Adapter(self._deadline)
        login = get_auth_from_url(url)
        self._session.auth = login if any(login) else _no_login

    def post(self, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to this JSON. NotAnswered without one within `seconds`."""
        all_headers = {**(headers or {}), **_HEADERS}
        if "authorization" in {name.lower() for name in all_headers}:
            self._session.auth = _no_login
        request = self._session.prepare_request(
            requests.Request("POST", self._url, data=msgspec.json.encode(body), headers=all_headers)
        )
        proxy = choose_proxy(self._url, self._proxy)
        settings: dict[str, Any] = dict(
            self._session.merge_environment_settings(self._url, _only(proxy), True, None, None)
        )
        try:
            with self._deadline.within(self._seconds):
                return self._send(request, settings)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise NotAnswered(self._explain(error) + _through(proxy)) from None

    def _send(self, request: requests.PreparedRequest, settings: Mapping[str, Any]) -> Reply:
        """By the adapter itself: a Session would read the whole body of a redirect, however long, before it returns."""
        answer = self._adapter.send(request, timeout=self._seconds, **settings)
        with closing(answer):
            if self._deadline.is_over():  # what was read of the head may have been cut off anywhere
                raise TimeoutError
            return Reply(answer.status_code, _read_line(answer))

    def _explain(self, error: Exception) -> str:
        if self._deadline.is_over() or isinstance(error, requests.Timeout):
            return "it does not answer in time"
        if isinstance(error, requests.exceptions.SSLError):
            return "TLS failed: is its certificate trusted?"
        if isinstance(error, requests.ConnectionError | OSError):
            return "it cannot be reached"
        return type(error).__name__


class Deadline:
    """Shuts down every connection that it made when the time is over. Used by one thread; a timer's thread cuts."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._responses: list[HTTPResponse] = []

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """From now on; at the end everything that was opened is closed."""
        self._ends = time.monotonic() + seconds
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            for response in self._responses:
                response.close()
            for handle in self._handles:
                handle.close()
            self._handles.clear()
            self._responses.clear()

    def is_over(self) -> bool:
        return time.monotonic() >= self._ends

    def connect(self, address: tuple[str, int]) -> socket.socket:
        """A connection to the first address of the name that takes one. OSError if none does in time."""
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        failure = OSError(f"{address[0]} has no address")
        for family, kind, protocol, _, where in found:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(max(_SHORTEST_SECONDS, self._ends - time.monotonic()))
                connection.connect(where)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._guard(connection)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure

    def note(self, response: HTTPResponse) -> None:
        """http.client lets go of a response that it cannot read without closing it, which keeps the connection open."""
        self._responses.append(response)

    def _guard(self, connection: socket.socket) -> None:
        """Keeps a handle of its own: TLS takes the connection's away."""
        with self._lock:
            self._handles.append(connection.dup())
            if self.is_over():
                raise TimeoutError

    def _cut(self) -> None:
        with self._lock:
            for handle in self._handles:
                with suppress(OSError):
                    handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
                    handle.shutdown(socket.SHUT_RDWR)


class _Adapter(HTTPAdapter):
    """requests' adapter, whose connections obey a deadline."""

    def __init__(self, deadline: Deadline) -> None:
        self._pools = _guarded_pools(deadline)
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager: PoolManager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # these make their connections otherwise
            manager.pool_classes_by_scheme = self._pools
        return manager


def _guarded_pools(deadline: Deadline) -> dict[str, type[HTTPConnectionPool]]:
    class Response(HTTPResponse):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            deadline.note(self)

    class Plain(HTTPConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            return deadline.connect((self._dns_host, self.port))

    class Encrypted(HTTPSConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            return deadline.connect((self._dns_host, self.port))

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _only(proxy: str | None) -> dict[str, Any]:
    """requests' table of proxies: this one for everything, whatever the environment says."""
    return dict.fromkeys(("http", "https", "all"), proxy)


def _no_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Stands where requests would look into .netrc."""
    return request


def _read_line(answer: requests.Response) -> str:
    """As much of the body as is wanted and comes in time; the status is known already, and it alone decides."""
    try:
        body: bytes = answer.raw.read(MOST_BYTES, decode_content=False)
    except (HTTPError, OSError, ValueError):
        return ""
    words = " ".join(body.decode("utf-8", "replace").split())
    return "".join(filter(str.isprintable, words))[:_SHOWN_CHARACTERS]


def _through(proxy: str | None) -> str:
    return f" through the proxy {urlsplit(proxy).hostname or 'of the environment'}" if proxy else ""
