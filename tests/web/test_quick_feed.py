"""The short way of the feed gives the answers of the app, and leaves to it what is not plain."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from support.web_world import FEED_KEY, KEY, NOW, READ_KEY, ApiResponse, BuildWorld, World

from nordiq_watch.api.enums import Media
from nordiq_watch.config.schema import FeederSettings, LimitSettings
from nordiq_watch.errors import StorageError
from nordiq_watch.events import BatchAccepted, BodyRefused
from nordiq_watch.web.quick_feed import QuickFeed

THROUGH_THE_APP = {"X-Something-Else": "1"}


class Passing:
    """Counts the requests that the short way leaves to the app."""

    def __init__(self, quick: QuickFeed) -> None:
        self._app = quick._app
        self.count = 0
        quick._app = self

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.count += 1
        return self._app(environ, start_response)


def watch(world: World) -> Passing:
    quick = world.app.wsgi_app
    assert isinstance(quick, QuickFeed)
    return Passing(quick)


def body_of(*records: Any) -> bytes:
    return json.dumps({"records": records}).encode()


def record(**fields: Any) -> dict[str, Any]:
    return {"timestamp": datetime.fromtimestamp(NOW, UTC).isoformat(), "server_name": "a", "cpu_user_pct": 5} | fields


def send(world: World, body: bytes, *, key: str | None = KEY, **headers: str) -> ApiResponse:
    held = {} if key is None else {"X-API-Key": key}
    return world.stranger.post("/feed/data", data=body, headers={**held, **headers})


BODIES = {
    "good": body_of(record(), record(server_name="b", status="idle")),
    "partly": body_of(record(), record(cpu_user_pct=500), "no record", record(odd=1)),
    "clipped": body_of(record(cpu_user_pct=105)),
    "empty": body_of(),
    "none taken": body_of(record(cpu_user_pct=-1)),
    "not JSON": b'{"records": [',
    "no feed": b"[]",
    "too many": body_of(*(record(server_name=str(number)) for number in range(20))),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_answer_is_that_of_the_app(build_world: BuildWorld, name: str) -> None:
    world = build_world(feeders=FeederSettings(max_records=10))
    world.put_live()
    send(world, BODIES[name])  # what is new to the window is in it for both
    quick, app = send(world, BODIES[name]), send(world, BODIES[name], **THROUGH_THE_APP)
    assert (quick.status_code, sorted(quick.headers)) == (app.status_code, sorted(app.headers))
    told, expected = quick.json, app.json
    assert told.pop("tick", 0) == max(0, expected.pop("tick", 0) - 1)
    assert told == expected


@pytest.mark.parametrize("name", ["good", "partly", "clipped", "empty", "none taken"])
def test_a_plain_request_does_not_reach_the_app(world: World, name: str) -> None:
    passing = watch(world)
    for key in (KEY, FEED_KEY):
        send(world, BODIES[name], key=key)
    assert passing.count == 0


@pytest.mark.parametrize("name", ["good", "partly", "none taken", "too many"])
def test_a_request_is_counted_once_whichever_way_it_went(build_world: BuildWorld, name: str) -> None:
    world = build_world(feeders=FeederSettings(max_records=10))
    counted: list[Any] = []
    for kind in (BatchAccepted, BodyRefused):
        world.services.events.subscribe(kind, counted.append)
    for headers in ({}, THROUGH_THE_APP):
        send(world, BODIES[name], **headers)
    quick, app = counted
    assert quick == app
    requests = "nordiq_watch_http_request_duration_seconds_count"
    page = world.client.get("/metrics").text
    assert f'{requests}{{route="/feed/data",status="{send(world, BODIES[name]).status_code}"}} 2.0' in page


@pytest.mark.parametrize(
    ("status", "key", "path", "headers"),
    [
        (401, None, "/feed/data", {}),
        (401, "a-wrong-key", "/feed/data", {}),
        (403, READ_KEY, "/feed/data", {}),
        (400, KEY, "/feed/data?odd=1", {}),
        (405, KEY, "/status", {}),
        (200, KEY, "/feed/data", {"Content-Encoding": "gzip"}),
        (400, KEY, "/feed/data", {"Content-Type": Media.ARROW}),
        (200, KEY, "/feed/data", {"Origin": "http://elsewhere"}),
        (200, None, "/feed/data", {"Authorization": f"Bearer {KEY}"}),
    ],
)
def test_what_is_not_plain_is_left_to_the_app(
    world: World, status: int, key: str | None, path: str, headers: dict[str, str]
) -> None:
    passing = watch(world)
    body = gzip.compress(BODIES["good"]) if "Content-Encoding" in headers else BODIES["good"]
    held = {} if key is None else {"X-API-Key": key}
    assert world.stranger.post(path, data=body, headers={**held, **headers}).status_code == status
    assert passing.count == 1


@pytest.mark.parametrize("name", ["good", "partly", "not JSON", "too many"])
def test_the_limits_count_a_request_once_whichever_way_it_goes(build_world: BuildWorld, name: str) -> None:
    world = build_world(feeders=FeederSettings(max_records=10))
    limits = LimitSettings(read_per_minute=1, feed_per_minute=4, admin_per_minute=1, refused_per_minute=1)
    world.services.security.rate_limits.replace(limits)
    ways: list[dict[str, str]] = [{}, THROUGH_THE_APP, {}, THROUGH_THE_APP]
    assert 429 not in [send(world, BODIES[name], **way).status_code for way in ways]
    quick, app = send(world, BODIES[name]), send(world, BODIES[name], **THROUGH_THE_APP)
    assert (quick.status_code, quick.json.keys()) == (429, app.json.keys())
    assert app.status_code == 429
    assert quick.headers["Retry-After"]
    assert send(world, BODIES["good"], key=FEED_KEY).status_code == 200  # each key has its own


def test_within_the_limits_a_plain_request_does_not_reach_the_app(world: World) -> None:
    passing = watch(world)
    limits = LimitSettings(read_per_minute=1, feed_per_minute=2, admin_per_minute=1, refused_per_minute=1)
    world.services.security.rate_limits.replace(limits)
    assert [send(world, BODIES["good"]).status_code for _ in range(3)] == [200, 200, 429]
    assert passing.count == 1


def test_a_key_that_was_revoked_is_refused_at_once(world: World) -> None:
    assert send(world, BODIES["good"], key=FEED_KEY).status_code == 200
    world.services.security.keyring.replace(())
    assert send(world, BODIES["good"], key=FEED_KEY).status_code == 401


@pytest.mark.parametrize("error", [StorageError("/state/journal: the disk is full"), RuntimeError("a fault")])
def test_a_failure_is_worded_by_the_app(world: World, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(world.services.ingest.worker, "submit", fail)
    quick, app = send(world, BODIES["good"]), send(world, BODIES["good"], **THROUGH_THE_APP)
    assert quick.status_code == app.status_code >= 500
    assert (quick.json, quick.headers.get("Retry-After")) == (app.json, app.headers.get("Retry-After"))
    assert "/state/journal" not in quick.text
