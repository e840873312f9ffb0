"""A short way for the requests that a daemon gets most: plain JSON for `POST /feed/data`, with a key, on its own.

Half of what a short batch costs in the app is the way through it: contexts, hooks, the objects of request and answer.
A request that says nothing special is answered here, with the same status, headers and body. Any other one, and each
that fails, goes through the app, which refuses, words, counts and audits it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nordiq_watch.api.enums import Media, Role
from nordiq_watch.api.sources import FeedFormat
from nordiq_watch.errors import TooManyRequests
from nordiq_watch.ingest.delivery import Delivery, Sender
from nordiq_watch.records.admission import BODY_LEFT_OUT
from nordiq_watch.security.keys import KeyHolder
from nordiq_watch.web.access import COUNTED, is_allowed
from nordiq_watch.web.feeding import take_json
from nordiq_watch.web.prometheus import Instruments
from nordiq_watch.web.routing import encode
from nordiq_watch.web.services import Services

log = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

ROUTE = "/feed/data"
_FAILURE = "nordiq_watch.feed_failure"
"""In the environment of a request whose body was read here: why it failed."""

_KEY = "HTTP_X_API_KEY"
_SAY_NOTHING_SPECIAL = frozenset(
    {_KEY, *(f"HTTP_{name}" for name in ("HOST", "ACCEPT", "ACCEPT_ENCODING", "USER_AGENT", "CONNECTION"))}
)


class QuickFeed:
    """WSGI in front of the app. From any thread."""

    def __init__(self, app: WsgiApp, services: Services, instruments: Instruments, *, most_bytes: int) -> None:
        self._app = app
        self._services = services
        self._instruments = instruments
        self._most_bytes = most_bytes
        self._is_public = ROUTE in services.config.auth.public
        self._known_names: frozenset[str] = frozenset()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        holder = self._find_feeder(environ) if self._is_plain(environ) else None
        if holder is None:
            return self._app(environ, start_response)
        began = time.perf_counter()
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        delivery = Delivery(_sender_of(environ, holder))
        try:
            taken, status = take_json(self._services, body, delivery)
        except Exception as error:  # noqa: BLE001  # the route raises it again
            environ[_FAILURE] = error
            return self._app(environ, start_response)
        self._services.ingest.sources.note(delivery)
        content = encode(taken)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response(f"{status.value} {status.phrase.upper()}", headers)
        self._note(environ, status.value, time.perf_counter() - began)
        return [content]

    def _is_plain(self, environ: Mapping[str, Any]) -> bool:
        if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] != ROUTE or environ.get("QUERY_STRING"):
            return False
        if not environ.keys() <= self._known_names and not self._says_nothing_special(environ):
            return False
        is_arrow = environ.get("CONTENT_TYPE", "").lower().startswith(Media.ARROW)
        length = environ.get("CONTENT_LENGTH", "")
        return not is_arrow and length.isdecimal() and int(length) <= self._most_bytes and BODY_LEFT_OUT not in environ

    def _says_nothing_special(self, environ: Mapping[str, Any]) -> bool:
        """By the names of its headers. Names like those of the request before are not looked at again."""
        is_so = not any(name.startswith("HTTP_") and name not in _SAY_NOTHING_SPECIAL for name in environ)
        if is_so:
            self._known_names = frozenset(environ)
        return is_so

    def _find_feeder(self, environ: dict[str, Any]) -> KeyHolder | None:
        """The holder of the request's key, if the guard lets the request pass. It is counted then, as the guard does
        it.
        """
        security = self._services.security
        if self._is_public or _KEY not in environ:
            return None
        holder: KeyHolder | None = security.keyring.identify(environ[_KEY])
        if holder is None or not is_allowed(holder, Role.FEED):
            return None
        try:
            security.rate_limits.count_allowed(holder.id, Role.FEED, ROUTE)
        except TooManyRequests:  # which is not counted: the guard meets the same limit, and refuses
            return None
        environ[COUNTED] = True
        return holder

    def _note(self, environ: Mapping[str, Any], status: int, seconds: float) -> None:
        self._instruments.observe_request(route=ROUTE, status=status, seconds=seconds)
        if log.isEnabledFor(logging.DEBUG):
            log.debug("POST %s %d in %.1f ms, for %s", ROUTE, status, seconds * 1000, environ.get("REMOTE_ADDR"))


def _sender_of(environ: Mapping[str, Any], holder: KeyHolder) -> Sender:
    address, user_agent = environ.get("REMOTE_ADDR"), environ.get("HTTP_USER_AGENT")
    return Sender.of(FeedFormat.JSON, key=holder.id, address=address, user_agent=user_agent)


def raise_failure(environ: Mapping[str, Any]) -> None:
    """Raises what failed before the app had the request, if anything did."""
    failure: Exception | None = environ.get(_FAILURE)
    if failure is not None:
        raise failure
