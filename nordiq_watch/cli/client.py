"""The command line's HTTP client: one daemon, one key; answers as they came, failures as one line.

The key is sent in a header to the address that the user named and to no other: redirects are not followed, and the
key appears in no message.
"""

from __future__ import annotations

import functools
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests

from nordiq_watch.config import (
    API_KEY_VARIABLE,
    URL_VARIABLE,
    Auth,
    Config,
    Remote,
    Settings,
    find_remote,
    find_settings,
)
from nordiq_watch.errors import ClientError, DaemonAway, DaemonRefused
from nordiq_watch.host.keys import ApiKey, find_key

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
RELOAD_SECONDS = 150.0  # the daemon answers when the reload is over, and at the latest after two minutes

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon said. `text` is `body` as it came over the wire."""

    status: int
    body: JsonObject
    text: str


class Client:
    """Requests to one daemon. Not to be shared between threads.

    Every method raises DaemonAway when nothing answers in time and DaemonRefused when the daemon says no. The answer
    to a reload is an answer even when it says `"success": false`.
    """

    def __init__(self, url: str, *, key: ApiKey | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.url = _checked(url)
        self._key = key
        self._answer_seconds = answer_seconds
        self._session = requests.Session()
        self._session.trust_env = not _is_loopback(self.url)  # a proxy cannot reach this machine's own loopback
        if key is not None:
            self._session.headers["X-API-Key"] = key.value

    def health(self) -> Answer:
        return self._get("/health")

    def ready(self) -> bool:
        """Whether a verified model is serving."""
        try:
            return self._get("/ready").status == 200
        except DaemonRefused as error:
            if error.status == 503:
                return False
            raise

    def status(self) -> Answer:
        return self._get("/status")

    def models(self) -> Answer:
        return self._get("/admin/models")

    def model_info(self) -> Answer:
        return self._get("/admin/model-info")

    def reload(self, name: str | None = None, *, wait: bool = True) -> Answer:
        """Loads the version called `name`, or the latest. Without `wait` the answer holds the reload's `id`."""
        return self._order("/admin/reload-model", {"model_path": name} if name else {}, wait=wait)

    def rollback(self, *, wait: bool = True) -> Answer:
        return self._order("/admin/rollback", {}, wait=wait)

    def unpin(self, *, wait: bool = True) -> Answer:
        return self._order("/admin/unpin", {}, wait=wait)

    def reloads(self, reload_id: int | None = None) -> Answer:
        """All reloads that the daemon remembers, or the one with this id."""
        return self._get("/admin/reloads" if reload_id is None else f"/admin/reloads/{reload_id}")

    def feed(self, records: list[JsonObject]) -> Answer:
        return self._request("POST", "/feed/data", json={"records": records}, answer_seconds=self._answer_seconds)

    def predictions(self) -> Answer:
        """The newest forecast of the fleet."""
        return self._get("/predictions/current")

    def _get(self, path: str) -> Answer:
        return self._request("GET", path, answer_seconds=self._answer_seconds)

    def _order(self, path: str, query: dict[str, str], *, wait: bool) -> Answer:
        query = query if wait else query | {"wait": "false"}
        return self._request("POST", path, params=query, answer_seconds=RELOAD_SECONDS)

    def _request(self, method: str, path: str, *, answer_seconds: float, **content: Any) -> Answer:
        timeout = (CONNECT_SECONDS, answer_seconds)
        try:
            response = self._session.request(method, self.url + path, timeout=timeout, allow_redirects=False, **content)
        except requests.RequestException as error:
            raise self._explain(error, f"{method} {path}") from None
        return self._read(response, path)

    def _explain(self, error: requests.RequestException, request: str) -> ClientError:
        if isinstance(error, requests.exceptions.SSLError):
            return ClientError(f"{self.url}: TLS failed. Does the daemon speak https, and is its certificate trusted?")
        if isinstance(error, requests.ReadTimeout):
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
            raise DaemonRefused(_describe_error(body, response.status_code), status=response.status_code)
        return Answer(response.status_code, body, response.text)

    def _describe_refused_key(self) -> str:
        if self._key is None:
            return f"{self.url} wants an API key and none was found: set {API_KEY_VARIABLE} or give --key-file"
        return f"{self.url} refused the API key from {self._key.source}: set {API_KEY_VARIABLE} or give --key-file"


def connect(
    url: str | None = None,
    *,
    key_file: Path | None = None,
    config: Path | None = None,
    remote: Remote | None = None,
    answer_seconds: float = ANSWER_SECONDS,
) -> Client:
    """A client for the daemon that the options, the environment and the config file name, in this order.

    The key in the environment wins over the key files. The config is only read where it is needed.
    ConfigError for a config or key file that cannot be used, ClientError for such an address.
    """
    remote = find_remote() if remote is None else remote
    settings = functools.cache(lambda: find_settings(config))
    if remote.api_key is not None:
        key = find_key(Settings(config=Config(), root=Path(), api_key=remote.api_key))
    elif key_file is not None:
        key = _read_named(key_file)
    else:
        key = find_key(msgspec.structs.replace(settings(), api_key=None))
    return Client(url or remote.url or address_of(settings().config), key=key, answer_seconds=answer_seconds)


def address_of(config: Config) -> str:
    """Where a daemon with this config is reached from its own machine. ClientError where that cannot be known."""
    server = config.server
    if server.port == 0:
        raise ClientError(f"server.port is 0, any free one: give --url or {URL_VARIABLE} (the daemon's log says which)")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(server.host, server.host)
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _read_named(key_file: Path) -> ApiKey:
    if not key_file.exists():
        raise ClientError(f"{key_file}: there is no such key file")
    key = find_key(Settings(config=Config(auth=Auth(key_file=key_file.name)), root=key_file.parent))
    if key is None:
        raise ClientError(f"{key_file}: holds only hashes of keys; put a key itself into {API_KEY_VARIABLE}")
    return key


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


def _describe_error(body: JsonObject, status: int) -> str:
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
