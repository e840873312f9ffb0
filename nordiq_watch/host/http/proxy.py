"""Decides which `X-Forwarded-*` headers are trusted."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from waitress.proxy_headers import PROXY_HEADERS, MalformedProxyHeader, clear_untrusted_headers, parse_proxy_headers

from nordiq_watch.errors import RequestError

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

_SINGLE = ("X_FORWARDED_PROTO", "X_FORWARDED_HOST", "X_FORWARDED_PORT")
_BELIEVED = frozenset({"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"})
_RIGHT = {
    "X-Forwarded-For": "the client's address ($remote_addr in nginx)",
    "X-Forwarded-Proto": "http or https ($scheme in nginx)",
    "X-Forwarded-Host": "the host's name ($host in nginx)",
}
_TELL_SECONDS = 3600.0
_LONGEST_SHOWN = 100


class ForwardedHeaders:
    """WSGI in front of the app: the trusted proxy's X-Forwarded-* decide the client's address, scheme and host. From
    all other senders they are dropped, so that none can fake its address. One that cannot be understood is a 400 that
    names it, and one line an hour in the log. From any thread. `clock` is monotonic.
    """

    def __init__(self, app: WsgiApp, trusted_proxy: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._trusted_proxy = None if trusted_proxy is None else _as_seen(trusted_proxy)
        self._clock = clock
        self._lock = threading.Lock()
        self._untold: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        untrusted = PROXY_HEADERS
        if environ["REMOTE_ADDR"] == self._trusted_proxy:
            try:
                untrusted = parse_proxy_headers(environ, trusted_proxy_count=1, trusted_proxy_headers=_BELIEVED)
            except MalformedProxyHeader as error:
                return self._refuse(error, environ["REQUEST_METHOD"], start_response)
        clear_untrusted_headers(environ, untrusted)
        return self._app(environ, start_response)

    def _refuse(self, error: MalformedProxyHeader, method: str, start_response: Any) -> Iterable[bytes]:
        detail = (
            f"the proxy {self._trusted_proxy} sent {error.header}: {error.value[:_LONGEST_SHOWN]!r}, which cannot be "
            f"understood. In the proxy's configuration, set {error.header} to {_RIGHT[error.header]}"
        )
        self._tell(error.header, detail)
        body = json.dumps({"error": RequestError.title, "detail": f"{detail}."}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response("400 BAD REQUEST", headers)
        return [] if method == "HEAD" else [body]

    def _tell(self, header: str, detail: str) -> None:
        now = self._clock()
        with self._lock:
            self._untold[header] += 1
            if now < self._told_at.get(header, now - _TELL_SECONDS) + _TELL_SECONDS:
                return
            self._told_at[header] = now
            count = self._untold.pop(header)
        log.warning("requests are refused (%d since the last such line): %s", count, detail)


def _as_seen(address: str) -> str:
    """An IP address as connections have it: an IPv6 one in its short form, an IPv4 one for both families as IPv4."""
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)


def keep_last_value(headers: MutableMapping[str, str]) -> None:
    """Of headers that should have one value, the last: several proxies in a row each add theirs, as `https, http`, and
    only the last comes from the one that is trusted. Waitress would refuse every request with two.

    headers: names as waitress writes them.
    """
    for name in _SINGLE:
        if "," in headers.get(name, ""):
            headers[name] = headers[name].rpartition(",")[2].strip()
