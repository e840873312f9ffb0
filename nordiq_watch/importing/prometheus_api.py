"""A Prometheus, VictoriaMetrics or Thanos, asked for raw samples over its HTTP API.

Samples come by instant queries of range selectors, `name[1h]` at the end of the hour: these return what was scraped, at
the moments of the scrapes. `query_range` evaluates at steps of its own, and would give other numbers.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
import requests

from nordiq_watch.errors import ClientError
from nordiq_watch.importing.prometheus_selectors import quoted
from nordiq_watch.importing.raw_samples import RawSamples, read_matrix
from nordiq_watch.ingest.formats.series import NAME

T = TypeVar("T")

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 120.0
TRIES = 5
"""Of a request that is not answered in time, or with 429, 502, 503 or 504."""

MOST_BYTES = 256 * 1024**2
"""Of one answer; a chunk with more is asked for in halves."""

SHORTEST_SECONDS = 60.0
"""A chunk is not made shorter than this."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0
_SHOWN = 200
_MARGIN_SECONDS = 1
_TOO_MANY = ("too many", "too large", "limit", "exceed", "cannot process more", "more than", "too much", "timed out")


_ADDRESS = "give the address, with its path, that Grafana has for it"
_WHOLE = {"partial_response": "false", "deny_partial_response": "1"}
"""For Thanos and a cluster of VictoriaMetrics: an error rather than a part of the samples."""


class TooMany(ClientError):
    """An answer would be too large: a shorter chunk may do."""


class _Labels(msgspec.Struct):
    status: str
    data: list[str]


_read_labels = msgspec.json.Decoder(_Labels).decode


@dataclass(frozen=True, slots=True)
class Source:
    """url: with the path below which /api/v1 lies. headers: of each request, such as Authorization. ca: a file with the
    certificates that are trusted, None for those of this machine. basic: user and password.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ca: Path | None = None
    basic: tuple[str, str] | None = None


class PrometheusApi:
    """Not to be shared between threads. Every method raises ClientError with one line. Redirects are not followed."""

    def __init__(self, source: Source, *, sleep: Callable[[float], object] = time.sleep) -> None:
        parts = urlsplit(source.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(f"{source.url}: not an address; write it like http://prometheus.example.net:9090")
        self.url = source.url.rstrip("/")
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update(source.headers)
        self._session.auth = source.basic or _keep_headers  # else requests takes what a .netrc has
        if source.ca is not None:
            self._session.verify = str(source.ca)
        self._seconds: dict[str, float] = {}
        self._has_answered = False

    def close(self) -> None:
        self._session.close()

    def values_of(self, label: str, *, begin: float, end: float) -> list[str]:
        """The values that a label has in a span of time, Unix seconds."""
        path = f"/api/v1/label/{label}/values"
        body = self._get(path, {"start": f"{begin:.3f}", "end": f"{end:.3f}"})
        return self._decode(_read_labels, body, path).data

    def samples(self, name: str, *, begin: float, end: float, matchers: str = "") -> Iterator[RawSamples]:
        """The series of a name, with their samples from `begin` on and before `end`; a chunk that is too large is asked
        for in halves, so that a series may come several times.

        matchers: of other labels, in Prometheus' notation.
        """
        length = self._seconds.get(name, math.inf)
        while begin < end:
            until = min(end, begin + length)
            try:
                found = self._query(name, begin, until, matchers)
            except TooMany as error:
                length = (until - begin) / 2
                if length < SHORTEST_SECONDS:
                    raise ClientError(f"{error}; {SHORTEST_SECONDS:.0f} s of {name} are too much for it") from None
                self._seconds[name] = length
                continue
            yield found
            begin = until

    def _query(self, name: str, begin: float, end: float, matchers: str) -> RawSamples:
        path = "/api/v1/query"
        chosen = f'{NAME}="{quoted(name)}"' + (f",{matchers}" if matchers else "")
        selector = f"{{{chosen}}}[{math.ceil(end - begin) + _MARGIN_SECONDS}s]"
        kind, found = self._decode(read_matrix, self._get(path, {"query": selector, "time": f"{end:.3f}"}), path)
        if kind != "matrix":
            raise ClientError(f"{self.url}{path}: answered with a {kind} where raw samples were asked for")
        named = replace(found, labels=[{**labels, NAME: name} for labels in found.labels])
        return named.select((begin <= named.times) & (named.times < end))

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        pause = _FIRST_PAUSE_SECONDS
        for tried in range(1, TRIES + 1):
            try:
                status, body, again = self._try(path, query)
            except requests.RequestException as error:
                if self._is_hopeless(error) or tried == TRIES:
                    raise self._explain(error, path) from None
                status, body, again = 0, b"", 0.0
            self._has_answered = self._has_answered or status != 0
            if status == 200:
                return body
            if status not in (0, 429, 502, 503, 504) or tried == TRIES:
                raise self._refusal(path, status, body)
            if status == 503 and _says_too_many(body):
                raise self._refusal(path, status, body)
            self._sleep(min(max(pause, again), _LONGEST_PAUSE_SECONDS))
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _is_hopeless(self, error: requests.RequestException) -> bool:
        """Whether the next try would fail the same way: so would a name without an address, from the begin on."""
        if isinstance(error, requests.exceptions.SSLError | requests.ReadTimeout):
            return True
        return not self._has_answered and isinstance(_root_of(error), socket.gaierror)

    def _try(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes, float]:
        """Status, body, and after how many seconds to ask again. Raises TooMany."""
        timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
        with self._session.get(
            self.url + path, params={**query, **_WHOLE}, timeout=timeout, allow_redirects=False, stream=True
        ) as answer:
            if answer.is_redirect:
                raise ClientError(f"{self.url}: leads to {answer.headers['Location']}; give that address instead")
            pieces, size = [], 0
            for piece in answer.iter_content(1 << 20):
                pieces.append(piece)
                size += len(piece)
                if size > MOST_BYTES:
                    raise TooMany(f"{self.url}: an answer has more than {MOST_BYTES // 1024**2} MB")
            again = answer.headers.get("Retry-After", "")
            return answer.status_code, b"".join(pieces), float(again) if again.isdecimal() else 0.0

    def _decode(self, read: Callable[[bytes], T], body: bytes, path: str) -> T:
        try:
            return read(body)
        except (msgspec.MsgspecError, ValueError):
            start = body[:40].decode(errors="replace").strip()
            raise ClientError(f"{self.url}: is no Prometheus: {path} is answered with {start!r}; {_ADDRESS}") from None

    def _refusal(self, path: str, status: int, body: bytes) -> ClientError:
        words = _words_of(body)
        said = f"{self.url}: {words or 'no reason given'} (HTTP {status})"
        if status in (401, 403):
            return ClientError(f"{said}; it wants credentials: PROMETHEUS_TOKEN, PROMETHEUS_BASIC_AUTH or --header")
        if status == 404:
            return ClientError(f"{self.url}: has no {path} (HTTP 404); {_ADDRESS}")
        if status in (413, 422, 500, 503) and _says_too_many(body):
            return TooMany(said)
        return ClientError(said)

    def _explain(self, error: requests.RequestException, path: str) -> ClientError:
        if isinstance(error, requests.exceptions.SSLError):
            return ClientError(f"{self.url}: TLS failed ({_cause(error)}); --cacert FILE names the authority to trust")
        if isinstance(error, requests.ReadTimeout):
            return TooMany(f"{self.url}: {path} was not answered within {ANSWER_SECONDS:.0f} s")
        return ClientError(f"{self.url}: cannot be reached ({_cause(error)})")


def _keep_headers(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _says_too_many(body: bytes) -> bool:
    text = body[:2000].decode(errors="replace").lower()
    return any(words in text for words in _TOO_MANY)


def _words_of(body: bytes) -> str:
    """The server's reason, short and in one line."""
    text = body.decode(errors="replace")
    try:
        found = msgspec.json.decode(body)
        text = str(found.get("error", text)) if isinstance(found, dict) else text
    except (msgspec.MsgspecError, ValueError):
        text = "" if "<" in text[:100] else text
    return " ".join(text.split())[:_SHOWN]


def _root_of(error: BaseException) -> OSError | None:
    """The operating system's error, from below the layers that wrap it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _cause(error: BaseException) -> str:
    """The operating system's words."""
    root = _root_of(error)
    return type(error).__name__ if root is None else str(root.strerror).lower()
