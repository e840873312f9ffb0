"""Requests to one daemon with one key: answers as they came, failures as one line.

The key is sent in a header to the address that the user named and to no other: redirects are not followed, and the
key appears in no message.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from nordiq_watch.config.environment import API_KEY_VARIABLE
from nordiq_watch.errors import ClientError, DaemonAway, DaemonRefused

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
RELOAD_SECONDS = 150.0  # the daemon answers when the reload is over, and at the latest after two minutes

JsonObject = dict[str, Any]

_SAFE_TO_REPEAT = ("/feed/", "/admin/import")
"""Paths whose POST may be sent twice: the same samples go to the same slots."""

_WORTH_ANOTHER_TRY = (429, 502, 503, 504)
_BACKOFF_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon said. `text` is `body` as it came over the wire."""

    status: int
    body: JsonObject
    text: str


class Http:
    """Not to be shared between threads. `key_source` says in messages where the key came from.

    A request that does not arrive, and a GET whose answer is lost or that a busy daemon refuses, is made again up to
    `retries` times, half a second later, then twice as long each time, or when the daemon says.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        key_source: str = "the program",
        answer_seconds: float = ANSWER_SECONDS,
        retries: int = 0,
    ) -> None:
        self.url = _checked(url)
        self._key_source = None if key is None else key_source
        self._answer_seconds = answer_seconds
        self._session = requests.Session()
        self._session.trust_env = not _is_loopback(self.url)  # a proxy cannot reach this machine's own loopback
        self._session.mount(self.url, _adapter(retries, methods=("GET",)))
        for path in _SAFE_TO_REPEAT:
            self._session.mount(self.url + path, _adapter(retries, methods=("GET", "POST")))
        if key is not None:
            self._session.headers["X-API-Key"] = key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connections back."""
        self._session.close()

    def get(self, path: str) -> Answer:
        """DaemonAway when nothing answers in time, DaemonRefused when the daemon says no."""
        return self.request("GET", path, answer_seconds=self._answer_seconds)

    def post(self, path: str, **content: Any) -> Answer:
        """As `get`; `content` is what requests takes: json, params …"""
        return self.request("POST", path, answer_seconds=self._answer_seconds, **content)

    def order(self, path: str, query: dict[str, str], *, wait: bool) -> Answer:
        """Asks for a reload of some kind. That it failed is an answer too; without `wait` the answer has its `id`."""
        query = query if wait else query | {"wait": "false"}
        return self.request("POST", path, params=query, answer_seconds=RELOAD_SECONDS)

    def request(self, method: str, path: str, *, answer_seconds: float, **content: Any) -> Answer:
        timeout = (CONNECT_SECONDS, answer_seconds)
        try:
            response = self._session.request(method, self.url + path, timeout=timeout, allow_redirects=False, **content)
        except requests.RequestException as error:
            raise self._explain(error, f"{method} {path}") from None
        return self._read(response, path)

    def _explain(self, error: requests.RequestException, request: str) -> ClientError:
        if isinstance(error, requests.exceptions.SSLError):
            return ClientError(f"{self.url}: TLS failed. Does the daemon speak https, and is its certificate trusted?")
        if _came_too_late(error):
            return DaemonAway(f"the daemon at {self.url} did not answer {request} in time")
        if isinstance(error, requests.ConnectionError):
            return DaemonAway(
                f"no daemon answers at {self.url} ({_cause(error)}): start it with `nordiq-watch serve` or give --url"
            )
        return ClientError(f"{self.url}: {request} failed: {error}")

    def _read(self, response: requests.Response, path: str) -> Answer:
        body = _json_object(response)
        if response.status_code == 401:
            raise DaemonRefused(self._describe_refused_key(), status=401)
        if body is None:
            raise DaemonRefused(
                f"{self.url}{path} answered HTTP {response.status_code} without JSON: is this a nordiq_watch daemon?",
                status=response.status_code,
            )
        if response.status_code >= 300 and "success" not in body:
            raise DaemonRefused(describe_error(body, response.status_code), status=response.status_code)
        return Answer(response.status_code, body, response.text)

    def _describe_refused_key(self) -> str:
        if self._key_source is None:
            return f"{self.url} wants an API key and none was found: set {API_KEY_VARIABLE} or give --key-file"
        return f"{self.url} refused the API key from {self._key_source}: set {API_KEY_VARIABLE} or give --key-file"


def _came_too_late(error: requests.RequestException) -> bool:
    """Whether the request arrived and was not answered in time, also after the last of several tries."""
    last = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ReadTimeout) or isinstance(last, ReadTimeoutError)


def _adapter(retries: int, *, methods: tuple[str, ...]) -> HTTPAdapter:
    if not retries:
        return HTTPAdapter()
    return HTTPAdapter(
        max_retries=Retry(
            total=retries,
            allowed_methods=methods,
            status_forcelist=_WORTH_ANOTHER_TRY,
            backoff_factor=_BACKOFF_SECONDS,
            raise_on_status=False,
            redirect=False,
        )
    )


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        usable = False
    if not usable:
        raise ClientError(f"{url}: not an address; write it like http://127.0.0.1:8000")
    return url.rstrip("/")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _json_object(response: requests.Response) -> JsonObject | None:
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def describe_error(body: JsonObject, status: int) -> str:
    """The daemon's words for a failure, and the status of its answer."""
    words = [str(body[name]) for name in ("error", "detail") if body.get(name)]
    return f"{': '.join(words) or 'no reason given'} (HTTP {status})"


def _cause(error: BaseException) -> str:
    """The operating system's words, from below the layers that wrap them."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__
