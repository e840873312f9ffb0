"""The typed client of one daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from nordiq_watch.client.answers import (
    Alert,
    Fed,
    FleetForecast,
    Forgotten,
    Model,
    ModelInfo,
    Reload,
    Status,
    read,
    read_forecast,
)
from nordiq_watch.client.http import ANSWER_SECONDS, Answer, Http, JsonObject
from nordiq_watch.errors import ClientError, DaemonAway, DaemonRefused, ReloadFailed

RETRIES = 3
RELOAD_SECONDS = 300.0
FORGET_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.2


class Client:
    """Not to be shared between threads. Closes its connections at the end of a `with`.

    Every method raises DaemonAway when nothing answers in time, DaemonRefused when the daemon says no, and ClientError
    when the answer is not a daemon's. Reading and feeding are tried `retries` times more, orders only when nobody took
    them; `clock` and `sleep` are how reloads are waited for.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        retries: int = RETRIES,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._http = Http(url, key=key, retries=retries, answer_seconds=answer_seconds)
        self._clock = clock
        self._sleep = sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    @property
    def url(self) -> str:
        return self._http.url

    # --- looking ---

    def ready(self) -> bool:
        """Whether a verified model is serving."""
        try:
            self._http.get("/ready")
        except DaemonRefused as error:
            if error.status == 503:
                return False
            raise
        return True

    def status(self) -> Status:
        return read(self._http.get("/status").body, Status)

    def models(self) -> list[Model]:
        """The versions on disk, newest first."""
        return [read(model, Model) for model in self._http.get("/admin/models").body["models"]]

    def model_info(self) -> ModelInfo:
        return read(self._http.get("/admin/model-info").body, ModelInfo)

    def reloads(self, limit: int = 50) -> list[Reload]:
        """What became of the last reloads, newest first."""
        return [read(reload, Reload) for reload in self._http.get(f"/admin/reloads?limit={limit}").body["reloads"]]

    def find_reload(self, reload_id: int) -> Reload:
        """DaemonRefused (404) for one that never was, or too long ago."""
        return read(self._http.get(f"/admin/reloads/{reload_id}").body, Reload)

    def predictions(self) -> FleetForecast:
        """The newest forecast of the fleet."""
        return read_forecast(self._http.get("/predictions/current").body)

    def prediction(self, server: str) -> FleetForecast:
        """The same of one server. DaemonRefused (404) for one that never sent anything."""
        return read_forecast(self._http.get(f"/predictions/{quote(server, safe='')}").body)

    def alerts(self) -> list[Alert]:
        """Those that are active now, the worst first."""
        return [read(alert, Alert) for alert in self._http.get("/alerts/active").body["alerts"]]

    def explain(self, server: str) -> JsonObject:
        """Why the model says what it says of one server, as the API tells it."""
        return self._http.get(f"/explain/{quote(server, safe='')}").body

    # --- feeding ---

    def feed(self, records: Sequence[JsonObject]) -> Fed:
        """Sends samples; once this returns, the valid ones survive a crash of the daemon. Look at `rejected`."""
        return read(self._http.post("/feed/data", json={"records": list(records)}).body, Fed)

    # --- ending ---

    def forget_server(self, server: str) -> Forgotten:
        """Forgets everything about a server but its samples in the archive; one that sends again is new.

        DaemonRefused (404) for one that nothing is known of. Look at `pending`.
        """
        path = f"/servers/{quote(server, safe='')}"
        return read(self._http.request("DELETE", path, answer_seconds=FORGET_SECONDS).body, Forgotten)

    # --- changing what is live ---

    def reload(self, name: str | None = None, *, wait: bool = True, seconds: float = RELOAD_SECONDS) -> Reload:
        """Loads the latest version, which ends a pin, or the one called `name`, which pins it.

        Waits until it is over, and raises ReloadFailed if what was asked for is not live then. Without `wait` the
        reload comes back as it is, to be looked at with `find_reload` or `wait_for_reload`.
        """
        return self._order("/admin/reload-model", {"model_path": name} if name else {}, wait=wait, seconds=seconds)

    def rollback(self, *, wait: bool = True, seconds: float = RELOAD_SECONDS) -> Reload:
        """Back to the version that was live before. As `reload`."""
        return self._order("/admin/rollback", {}, wait=wait, seconds=seconds)

    def unpin(self, *, wait: bool = True, seconds: float = RELOAD_SECONDS) -> Reload:
        """Lets the newest version go live by itself again. As `reload`."""
        return self._order("/admin/unpin", {}, wait=wait, seconds=seconds)

    def wait_for_reload(
        self,
        reload_id: int,
        *,
        seconds: float = RELOAD_SECONDS,
        progress: Callable[[Reload], None] = lambda reload: None,
    ) -> Reload:
        """The reload, once it is over and what it was asked for is live; `progress` sees it each time it is looked at.

        ReloadFailed if it ended otherwise, DaemonAway if it is not over in time.
        """
        deadline = self._clock() + seconds
        while True:
            reload = self.find_reload(reload_id)
            progress(reload)
            if reload.state == "finished":
                return _succeeded(reload)
            if self._clock() >= deadline:
                raise DaemonAway(f"reload {reload_id} is not over after {seconds:g} s; it goes on")
            self._sleep(LOOK_AGAIN_SECONDS)

    def wait_for_live(self, name: str, *, seconds: float = RELOAD_SECONDS) -> ModelInfo:
        """model_info of the version called `name`, once it is live, whoever loads it.

        ClientError with the daemon's reason as soon as that version is rejected; DaemonAway if it takes longer.
        """
        deadline = self._clock() + seconds
        while True:
            info = self.model_info()
            if info.model_name == name:
                return info
            refused = [model for model in self.models() if model.name == name and model.state == "rejected"]
            if refused:
                raise ClientError(f"{name} was rejected: {refused[0].reason}")
            if self._clock() >= deadline:
                raise DaemonAway(f"{name} is not live after {seconds:g} s; live: {info.model_name or 'no model'}")
            self._sleep(LOOK_AGAIN_SECONDS)

    def _order(self, path: str, query: dict[str, str], *, wait: bool, seconds: float) -> Reload:
        reload_id = _id_of(self._http.order(path, query, wait=False))
        return self.wait_for_reload(reload_id, seconds=seconds) if wait else self.find_reload(reload_id)


def _id_of(answer: Answer) -> int:
    """DaemonRefused when the order was not taken at all."""
    reload_id: Any = answer.body.get("id")
    if isinstance(reload_id, int):
        return reload_id
    words = [str(answer.body[name]) for name in ("error", "detail") if answer.body.get(name)]
    raise DaemonRefused(f"{': '.join(words) or 'no reason given'} (HTTP {answer.status})", status=answer.status)


def _succeeded(reload: Reload) -> Reload:
    if reload.succeeded:
        return reload
    raise ReloadFailed(
        reload_id=reload.id,
        outcome=str(reload.outcome),
        reason=reload.reason or "no reason given",
        current_model=reload.current_model,
    )
