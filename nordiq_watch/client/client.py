"""The typed client of one daemon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from nordiq_watch.api.enums import Media, ReloadState, VersionState
from nordiq_watch.api.feed import Fed
from nordiq_watch.api.imports import Imported
from nordiq_watch.api.servers import Forgotten, Maintained, Server, Servers
from nordiq_watch.client.answers import (
    Alert,
    FleetForecast,
    Model,
    ModelInfo,
    Reload,
    Status,
    read,
    read_forecast,
)
from nordiq_watch.client.fleet_part import WHOLE, FleetPart
from nordiq_watch.client.frames import ROWS_AT_ONCE, as_streams, merge_answers
from nordiq_watch.client.http import ANSWER_SECONDS, Answer, Http, JsonObject, describe_error
from nordiq_watch.errors import ClientError, DaemonAway, DaemonRefused, ReloadFailed

RETRIES = 3
SERVERS_PER_PAGE = 1000
RELOAD_SECONDS = 300.0
FORGET_SECONDS = 60.0
IMPORT_SECONDS = 150.0
LOOK_AGAIN_SECONDS = 0.1


class Client:
    """Not to be shared between threads. Closes its connections at the end of a `with`.

    Every method raises DaemonAway when nothing answers in time, DaemonRefused when the daemon says no, and ClientError
    when the answer is not a daemon's. Reading and feeding are tried `retries` times more, orders only when they did not
    arrive; `clock` and `sleep` serve to wait for reloads. key_source: the key's origin, for messages. `http` returns
    raw answers.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        key_source: str = "the program",
        retries: int = RETRIES,
        answer_seconds: float = ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.http = Http(url, key=key, key_source=key_source, retries=retries, answer_seconds=answer_seconds)
        self._clock = clock
        self._sleep = sleep

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    @property
    def url(self) -> str:
        return self.http.url

    # --- looking ---

    def ready(self) -> bool:
        """Whether a verified model is serving."""
        try:
            self.http.get("/ready")
        except DaemonRefused as error:
            if error.status == 503:
                return False
            raise
        return True

    def status(self) -> Status:
        return read(self.http.get("/status").body, Status)

    def models(self) -> list[Model]:
        """The versions on disk, newest first."""
        return [read(model, Model) for model in self.http.get("/admin/models").body["models"]]

    def model_info(self) -> ModelInfo:
        return read(self.http.get("/admin/model-info").body, ModelInfo)

    def reloads(self, limit: int = 50) -> list[Reload]:
        """What became of the last reloads, newest first."""
        return [read(reload, Reload) for reload in self.http.get(f"/admin/reloads?limit={limit}").body["reloads"]]

    def find_reload(self, reload_id: int) -> Reload:
        """DaemonRefused (404) for one that never was, or too long ago."""
        return read(self.http.get(f"/admin/reloads/{reload_id}").body, Reload)

    def predictions(self, part: FleetPart = WHOLE) -> FleetForecast:
        """The newest forecast of the fleet, or of a part of it."""
        return read_forecast(self.http.get(_with_query("/predictions/current", part.query())).body)

    def pages(self, part: FleetPart = WHOLE, *, limit: int = SERVERS_PER_PAGE) -> Iterator[FleetForecast]:
        """The same in pages of `limit` servers, all of one answer.

        DaemonRefused (410) when that answer was replaced before its last page was read: start again.
        """
        query = {**part.query(), "limit": str(limit)}
        while True:
            page = read_forecast(self.http.get(_with_query("/predictions/current", query)).body)
            yield page
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def prediction(self, server: str) -> FleetForecast:
        """The same of one server. DaemonRefused (404) for one that never sent anything."""
        return read_forecast(self.http.get(f"/predictions/{quote(server, safe='')}").body)

    def alerts(self) -> list[Alert]:
        """Those that are active now, the worst first."""
        return [read(alert, Alert) for alert in self.http.get("/alerts/active").body["alerts"]]

    def explain(self, server: str) -> JsonObject:
        """Why the model says what it says of one server, as the API tells it."""
        return self.http.get(f"/explain/{quote(server, safe='')}").body

    # --- feeding ---

    def feed(self, records: Sequence[JsonObject]) -> Fed:
        """Sends samples; once this returns, the valid ones survive a crash of the daemon. Look at `rejected`."""
        return read(self.http.post("/feed/data", json={"records": list(records)}).body, Fed)

    def feed_frame(self, frame: Any, *, rows_at_once: int = ROWS_AT_ONCE) -> Fed:
        """Sends a pandas DataFrame as Arrow, in requests of `rows_at_once` rows at most. Both sides need pyarrow.

        Columns: `timestamp`, which may be the index, `server_name`, the metrics and, optionally, `status` and
        `profile`. Times without a zone are of the daemon's `window.naive_zone`; NaN and None were not measured. `index`
        of a rejected record is the position of its row. Raises as `feed`; ClientError for a DataFrame that Arrow cannot
        hold.
        """
        answers = []
        for first, body in as_streams(frame, rows=rows_at_once):
            try:
                taken = self.http.post("/feed/data", data=body, headers={"Content-Type": str(Media.ARROW)}).body
            except DaemonRefused as refused:
                before = f"rows before {first} were sent; then: " if first else ""
                raise DaemonRefused(f"{before}{refused}", status=refused.status) from None
            answers.append((first, read(taken, Fed)))
        return merge_answers(answers)

    def import_history(self, records: Sequence[JsonObject]) -> Imported:
        """Sends samples of the past, with all of one slot of a server together: they go where nothing was measured.

        The role admin is needed. Sending them again changes nothing. Look at `rejected` and the numbers of slots.
        """
        sent = {"records": list(records)}
        return read(self.http.request("POST", "/admin/import", answer_seconds=IMPORT_SECONDS, json=sent).body, Imported)

    # --- ending ---

    def forget_server(self, server: str) -> Forgotten:
        """Forgets everything about a server but its samples in the archive; one that sends again is new.

        DaemonRefused (404) for one that nothing is known of. Look at `pending`.
        """
        path = f"/servers/{quote(server, safe='')}"
        return read(self.http.request("DELETE", path, answer_seconds=FORGET_SECONDS).body, Forgotten)

    # --- maintenance ---

    def servers(self, *, state: str | None = None, profile: str | None = None) -> Iterator[Server]:
        """The servers that the daemon knows, by name; of these states and profiles, several with commas between."""
        query = {"limit": str(SERVERS_PER_PAGE)}
        query |= {name: value for name, value in (("state", state), ("profile", profile)) if value is not None}
        while True:
            page = read(self.http.get(_with_query("/servers", query)).body, Servers)
            yield from page.servers
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def begin_maintenance(self, server: str, *, until: str | float, reason: str = "") -> Maintained:
        """No alert of the server is raised until then, ISO 8601 or Unix seconds; forecasts go on.

        DaemonRefused (404) for an unknown server, (400) for an end that is past.
        """
        path = f"/servers/{quote(server, safe='')}/maintenance"
        return read(self.http.post(path, json={"until": until, "reason": reason}).body, Maintained)

    def end_maintenance(self, server: str) -> Maintained:
        """DaemonRefused (404) for one that is not in maintenance by an order."""
        path = f"/servers/{quote(server, safe='')}/maintenance"
        return read(self.http.request("DELETE", path, answer_seconds=FORGET_SECONDS).body, Maintained)

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
        for look in self.follow_reload(reload_id, seconds=seconds):
            reload = read(look.body, Reload)
            progress(reload)
        return _succeeded(reload)

    def follow_reload(self, reload_id: int, *, seconds: float = RELOAD_SECONDS) -> Iterator[Answer]:
        """The daemon's answers about a reload until it is over, one per look. DaemonAway if that takes longer."""
        deadline = self._clock() + seconds
        while True:
            look = self.http.get(f"/admin/reloads/{reload_id}")
            yield look
            if read(look.body, Reload).state is ReloadState.FINISHED:
                return
            if self._clock() >= deadline:
                raise DaemonAway(f"reload {reload_id} is not over after {seconds:g} s; it goes on")
            self._sleep(LOOK_AGAIN_SECONDS)

    def wait_for_live(self, name: str, *, seconds: float = RELOAD_SECONDS) -> ModelInfo:
        """model_info of the version called `name`, once it is live, no matter who requested it.

        ClientError with the daemon's reason as soon as that version is rejected; DaemonAway if it takes longer.
        """
        deadline = self._clock() + seconds
        while True:
            info = self.model_info()
            if info.model_name == name:
                return info
            refused = [model for model in self.models() if model.name == name and model.state is VersionState.REJECTED]
            if refused:
                raise ClientError(f"{name} was rejected: {refused[0].reason}")
            if self._clock() >= deadline:
                raise DaemonAway(f"{name} is not live after {seconds:g} s; live: {info.model_name or 'no model'}")
            self._sleep(LOOK_AGAIN_SECONDS)

    def _order(self, path: str, query: dict[str, str], *, wait: bool, seconds: float) -> Reload:
        reload_id = read_id(self.http.order(path, query, wait=False))
        return self.wait_for_reload(reload_id, seconds=seconds) if wait else self.find_reload(reload_id)


def read_id(answer: Answer) -> int:
    """The id of the reload that an order began. DaemonRefused when the order was not taken at all."""
    reload_id: Any = answer.body.get("id")
    if isinstance(reload_id, int):
        return reload_id
    raise DaemonRefused(describe_error(answer.body, answer.status), status=answer.status)


def _succeeded(reload: Reload) -> Reload:
    if reload.succeeded:
        return reload
    assert reload.outcome is not None  # it is over
    raise ReloadFailed(
        reload_id=reload.id,
        outcome=reload.outcome,
        reason=reload.reason or "no reason given",
        current_model=reload.current_model,
    )


def _with_query(path: str, query: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(query)}" if query else path
