"""How much body a request may have, by its head alone; and what the app says where the server left the body out."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from support.web_world import FEED_KEY, KEY, READ_KEY, BuildWorld, World

from nordiq_watch.config.schema import AuthSettings
from nordiq_watch.records.admission import BODY_LEFT_OUT, Admission
from nordiq_watch.web.access import ORDER_BYTES, SIGN_IN_BYTES, TAKES_DATA
from nordiq_watch.web.admission import Gate

MOST = 16_000_000


def judge(world: World, method: str, path: str, **headers: Any) -> Admission:
    head = {"REQUEST_METHOD": method, "PATH_INFO": path, **{f"HTTP_{name}": value for name, value in headers.items()}}
    return Gate(world.app, world.services)(head)


FOR_ADMINS = "POST /admin/import"
FOR_FEEDERS = sorted(TAKES_DATA - {FOR_ADMINS})
KEYS = [(KEY, MOST), (FEED_KEY, MOST), (READ_KEY, 0), ("wrong", 0), ("", 0)]


@pytest.mark.parametrize(
    ("route", "key", "allowed"),
    [*((route, *key) for route in FOR_FEEDERS for key in KEYS), (FOR_ADMINS, KEY, MOST), (FOR_ADMINS, FEED_KEY, 0)],
)
def test_data_is_taken_from_keys_that_may_feed_and_from_no_other(
    world: World, route: str, key: str, allowed: int
) -> None:
    method, path = route.split()
    assert judge(world, method, path, X_API_KEY=key).max_body_bytes == allowed
    assert judge(world, method, path, AUTHORIZATION=f"Bearer {key}").max_body_bytes == allowed
    assert judge(world, method, path).max_body_bytes == 0


def test_a_body_may_come_with_the_proxy_s_path_and_without_it(world: World) -> None:
    server = msgspec.structs.replace(world.services.config.server, url_prefix="/nordiq")
    services = replace(world.services, config=msgspec.structs.replace(world.services.config, server=server))
    gate = Gate(world.app, services)
    for path, allowed in {"/nordiq/feed/data": MOST, "/feed/data": MOST, "/nordiqfeed/data": 0}.items():
        head = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "HTTP_X_API_KEY": FEED_KEY}
        assert gate(head).max_body_bytes == allowed


def test_whose_key_is_right_is_known_whatever_it_may_send(world: World) -> None:
    assert judge(world, "POST", "/feed/data", X_API_KEY=READ_KEY).is_known
    assert not judge(world, "POST", "/feed/data", X_API_KEY="wrong").is_known
    assert not judge(world, "POST", "/feed/data").is_known


def test_an_order_is_short(world: World) -> None:
    for path in ("/admin/reload-model", "/admin/rollback"):
        assert judge(world, "POST", path, X_API_KEY=KEY).max_body_bytes == ORDER_BYTES
        assert judge(world, "POST", path, X_API_KEY=FEED_KEY).max_body_bytes == 0


def test_a_session_counts_as_its_key(world: World) -> None:
    token = world.services.sessions.open(KEY)
    assert judge(world, "POST", "/admin/rollback", COOKIE=f"nordiq_session={token}").max_body_bytes == ORDER_BYTES
    assert judge(world, "POST", "/admin/rollback", COOKIE="nordiq_session=guess").max_body_bytes == 0


def test_strangers_may_send_a_key_to_the_sign_in_and_nothing_else(world: World) -> None:
    assert judge(world, "POST", "/sign-in").max_body_bytes == SIGN_IN_BYTES
    for method, path in (("GET", "/health"), ("POST", "/health"), ("GET", "/console/console.css"), ("PUT", "/nothing")):
        assert judge(world, method, path).max_body_bytes == 0


def test_where_feeding_is_public_strangers_may_feed(build_world: BuildWorld) -> None:
    world = build_world(auth=AuthSettings(public=("/feed/data",)))
    assert judge(world, "POST", "/feed/data").max_body_bytes == MOST
    assert judge(world, "POST", "/feed/telegraf").max_body_bytes == 0


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/feed/data/", 0), ("//feed/data", 0), ("/%66eed/data", 0), ("/feed/d\xc3\xa4ta", 0), ("", 0), ("*", 0)],
)
def test_no_spelling_of_a_path_lets_a_stranger_in(world: World, path: str, allowed: int) -> None:
    assert judge(world, "POST", path).max_body_bytes == allowed


@pytest.mark.parametrize("value", ["Basic " + base64.b64encode(b"a:b").decode(), "Bearer", "Basic ?", "\xff\xfe", ""])
def test_odd_credentials_are_no_key(world: World, value: str) -> None:
    assert judge(world, "POST", "/feed/data", AUTHORIZATION=value).max_body_bytes == 0


@pytest.mark.parametrize(
    ("left_out", "status", "error"),
    [("too_large", 413, "Body too large"), ("no_room", 503, "Busy"), ("not_allowed", 503, "Busy")],
)
@pytest.mark.parametrize("path", ["/feed/data", "/admin/reload-model", "/admin/rollback"])
def test_a_body_that_was_left_out_is_not_taken_for_an_empty_one(
    world: World, path: str, left_out: str, status: int, error: str
) -> None:
    world.reloads.outcome = {"outcome": "unpinned"}
    answer = world.client.post(path, environ_overrides={BODY_LEFT_OUT: left_out})
    assert (answer.status_code, answer.json["error"]) == (status, error)
    assert world.reloads.jobs == []


def test_the_guard_speaks_first(world: World) -> None:
    for headers, status in (({}, 401), ({"X-API-Key": "wrong"}, 401), ({"X-API-Key": READ_KEY}, 403)):
        answer = world.stranger.post(
            "/admin/rollback", headers=headers, environ_overrides={BODY_LEFT_OUT: "not_allowed"}
        )
        assert answer.status_code == status


def test_what_only_reads_is_answered_without_the_body(world: World) -> None:
    assert world.stranger.get("/health", environ_overrides={BODY_LEFT_OUT: "not_allowed"}).status_code == 200
    assert world.client.post("/nothing", environ_overrides={BODY_LEFT_OUT: "too_large"}).status_code == 404
