"""A Prometheus, VictoriaMetrics or Thanos, asked for raw samples over its HTTP API.

Samples come by instant queries of range selectors, `name[1h]` at the end of the hour: these return what was scraped, at
the moments of the scrapes. `query_range` evaluates at steps of its own, and would give other numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests

from nordiq_watch.errors import ClientError
from nordiq_watch.ingest.formats.series import NAME, Series

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


class _Found(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    resultType: str
    result: list[_Found]


class _Matrix(msgspec.Struct):
    status: str
    data: _Data


class _Labels(msgspec.Struct):
    status: str
    data: list[str]


_matrix, _labels = msgspec.json.Decoder(_Matrix), msgspec.json.Decoder(_Labels)


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

    def close(self) -> None:
        self._session.close()

    def values_of(self, label: str, *, begin: float, end: float) -> list[str]:
        """The values that a label has in a span of time, Unix seconds."""
        path = f"/api/v1/label/{label}/values"
        body = self._get(path, {"start": f"{begin:.3f}", "end": f"{end:.3f}"})
        values: list[str] = self._decode(_labels, body, path).data
        return values

    def samples(self, name: str, *, begin: float, end: float) -> Iterator[Series]:
        """The series of a name, with their samples from `begin` on and before `end`; a chunk that is too large is asked
        for in halves, so that a series may come several times.
        """
        length = self._seconds.get(name, math.inf)
        while begin < end:
            until = min(end, begin + length)
            try:
                found = self._query(name, begin, until)
            except TooMany as error:
                length = (until - begin) / 2
                if length < SHORTEST_SECONDS:
                    raise ClientError(f"{error}; {SHORTEST_SECONDS:.0f} s of {name} are too much for it") from None
                self._seconds[name] = length
                continue
            yield from found
            begin = until

    def _query(self, name: str, begin: float, end: float) -> list[Series]:
        path = "/api/v1/query"
        selector = f'{{{NAME}="{_quoted(name)}"}}[{math.ceil(end - begin) + _MARGIN_SECONDS}s]'
        data = self._decode(_matrix, self._get(path, {"query": selector, "time": f"{end:.3f}"}), path).data
        if data.resultType != "matrix":
            raise ClientError(f"{self.url}{path}: answered with a {data.resultType} where raw samples were asked for")
        found = []
        for one in data.result:
            samples = [(at, float(value)) for at, value in one.values if begin <= at < end]
            found += [Series({**one.metric, NAME: name}, samples)] if samples else []
        return found

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        pause = _FIRST_PAUSE_SECONDS
        for tried in range(1, TRIES + 1):
            try:
                status, body, again = self._try(path, query)
            except requests.RequestException as error:
                hopeless = isinstance(error, requests.exceptions.SSLError | requests.ReadTimeout)
                if hopeless or tried == TRIES:
                    raise self._explain(error, path) from None
                status, body, again = 0, b"", 0.0
            if status == 200:
                return body
            if status not in (0, 429, 502, 503, 504) or tried == TRIES:
                raise self._refusal(path, status, body)
            if status == 503 and _says_too_many(body):
                raise self._refusal(path, status, body)
            self._sleep(min(max(pause, again), _LONGEST_PAUSE_SECONDS))
            pause *= 2
        raise AssertionError("the last try returns or raises")

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

    def _decode(self, decoder: msgspec.json.Decoder[Any], body: bytes, path: str) -> Any:
        try:
            return decoder.decode(body)
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


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


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


def _cause(error: BaseException) -> str:
    """The operating system's words, from below the layers that wrap them."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__
