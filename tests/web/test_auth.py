from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support.web_world import FEED_KEY, KEY, READ_KEY, ApiResponse, BuildWorld, World
from werkzeug.routing import Rule

from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.config.schema import AuthSettings
from nordiq_watch.errors import ConfigError
from nordiq_watch.log_throttle import LINES_PER_MINUTE
from nordiq_watch.web.access import needed_role
from nordiq_watch.web.console.pages import OPEN_ROUTES

PUBLIC = {"/health", "/ready", "/status", "/metrics"}


def every_request(world: World) -> Iterator[tuple[str, str, Rule | None]]:
    """(method, path, rule) of all that the API has, and of what it has not."""
    rules: list[Rule] = list(world.app.url_map.iter_rules())
    assert len(rules) >= 14
    for rule in rules:
        path = re.sub("<[^>]+>", "1", rule.rule)
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            yield method, path, rule
    for path in ("/nothing", "/admin", "/admin/", "/admin/models/", "//admin/models", "/health/", "/static/x"):
        yield "GET", path, None


def is_refused(answer: ApiResponse) -> bool:
    """401 for programs; people on a page of the console are sent to where they can sign in."""
    return answer.status_code == 401 or (answer.location or "").startswith("/sign-in")


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}, {"Authorization": KEY}])
def test_no_route_and_method_answers_without_the_key_but_the_public_ones(world: World, headers: dict[str, Any]) -> None:
    for method, path, rule in every_request(world):
        answer = world.stranger.open(path, method=method, headers=headers)
        allowed = rule is not None and rule.rule in PUBLIC | set(OPEN_ROUTES) and method in (rule.methods or ())
        assert is_refused(answer) != allowed or path == "/sign-in", (method, path, answer.status_code)


def test_with_an_empty_public_list_nothing_answers_without_the_key(private_world: World) -> None:
    for method, path, rule in every_request(private_world):
        if rule is None or rule.rule not in OPEN_ROUTES:
            assert is_refused(private_world.stranger.open(path, method=method)), (method, path)


def test_with_the_key_every_route_is_reached(world: World) -> None:
    world.reloads.outcome = {"outcome": "rejected", "reason": "canary: p50 is NaN"}
    for method, path, rule in every_request(world):
        form = {"key": KEY} if path == "/sign-in" and method == "POST" else None
        status = world.client.open(path, method=method, data=form).status_code
        expected_miss = {404} if rule is None or "<" in rule.rule else set()
        if rule is not None and method not in (rule.methods or ()):
            expected_miss = expected_miss | {405}  # or another route has this method and path
        assert status not in {401, 404, 405, 500} - expected_miss, (method, path, status)


def test_no_answer_may_be_taken_for_a_page(world: World) -> None:
    world.reloads.outcome = {"outcome": "rejected", "reason": "canary: p50 is NaN"}
    for method, path, _ in every_request(world):
        for client in (world.client, world.stranger):
            assert client.open(path, method=method).headers["X-Content-Type-Options"] == "nosniff", (method, path)


def declared_routes(world: World) -> set[str]:
    """`METHOD rule` of all that the app answers. HEAD is GET without a body; OPTIONS only lists methods."""
    return {
        f"{method} {rule.rule}"
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_route_has_its_role_in_the_table(world: World) -> None:
    assert set(ENDPOINTS) == declared_routes(world)


@pytest.mark.parametrize(("key", "role"), [(READ_KEY, "read"), (FEED_KEY, "feed")])
def test_a_key_does_what_its_role_allows_and_nothing_else(world: World, key: str, role: str) -> None:
    world.reloads.outcome = {"outcome": "rejected", "reason": "canary: p50 is NaN"}
    refused = set()
    for method, path, rule in every_request(world):
        if rule is None or method not in (rule.methods or ()) or rule.rule in PUBLIC | set(OPEN_ROUTES):
            continue
        answer = world.stranger.open(path, method=method, headers={"X-API-Key": key})
        needed = needed_role(method, rule.rule)
        assert (answer.status_code == 403) == (needed != role), (method, path, answer.status_code)
        if needed != role:
            refused.add(f"{method} {rule.rule}")
    assert {"POST /admin/reload-model", "POST /admin/rollback", "POST /admin/unpin"} <= refused
    assert ("POST /feed/data" in refused) == (role == "read")
    assert world.reloads.jobs == []


def test_a_key_may_come_as_a_bearer_token(world: World) -> None:
    assert world.stranger.get("/admin/models", headers={"Authorization": f"Bearer {READ_KEY}"}).status_code == 200
    for wrong in ("Bearer guess", f"Basic {READ_KEY}", "Bearer"):
        assert world.stranger.get("/admin/models", headers={"Authorization": wrong}).status_code == 401


COLLECTORS = ["/feed/prometheus", "/feed/telegraf", "/feed/collectd", "/v1/metrics", "/api/v2/write", "/write"]


@pytest.mark.parametrize("path", COLLECTORS)
def test_collectors_may_send_a_key_as_the_password_of_basic(world: World, path: str) -> None:
    def status(password: str) -> int:
        value = "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()
        return world.stranger.post(path, data=b"?", headers={"Authorization": value}).status_code

    assert (status("guess"), status(READ_KEY)) == (401, 403)
    assert status(FEED_KEY) not in (401, 403)


def test_a_password_is_no_key_where_a_page_could_do_harm(world: World) -> None:
    for path in ("/feed/data", "/admin/import", "/admin/reload-model"):
        value = "Basic " + base64.b64encode(f"anyone:{KEY}".encode()).decode()
        assert world.stranger.post(path, data=b"?", headers={"Authorization": value}).status_code == 401


def test_a_refusal_names_both_roles_and_no_key(world: World) -> None:
    answer = world.stranger.post("/admin/rollback", headers={"X-API-Key": READ_KEY})
    assert answer.status_code == 403
    assert answer.json["detail"] == "this needs a key of the role admin; yours (reader) has the role read"
    assert answer.json["success"] is False


def test_a_key_that_sees_nothing_cannot_sign_in(world: World) -> None:
    assert world.stranger.post("/sign-in", data={"key": FEED_KEY}).status_code == 403
    assert world.stranger.post("/sign-in", data={"key": READ_KEY}).status_code == 303


def test_no_key_says_how_to_send_one_and_a_wrong_key_does_not_say_which_is_right(world: World) -> None:
    missing = world.stranger.get("/admin/models")
    wrong = world.stranger.get("/admin/models", headers={"X-API-Key": "wrong"})
    assert missing.json == {
        "error": "Unauthorized",
        "detail": "no key was sent. Send the daemon's API key in the header X-API-Key.",
    }
    assert wrong.json == {"error": "Unauthorized", "detail": "the key in X-API-Key is not this daemon's"}
    assert missing.headers["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'
    assert KEY not in missing.text + wrong.text


def test_a_refused_reload_says_that_it_was_no_success(world: World) -> None:
    assert world.stranger.post("/admin/reload-model").json["success"] is False
    assert world.reloads.jobs == []


def test_a_wrong_key_is_logged_with_its_sender_and_without_the_key(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.stranger.get("/admin/models", headers={"X-API-Key": "a-wrong-secret"})
    assert "wrong API key from 127.0.0.1: GET /admin/models" in caplog.text
    assert "a-wrong-secret" not in caplog.text


def test_an_unknown_route_is_401_without_and_404_with_the_key(world: World) -> None:
    assert world.stranger.get("/nothing").status_code == 401
    assert world.client.get("/nothing").status_code == 404


def test_the_public_list_can_be_changed(build_world: BuildWorld) -> None:
    world = build_world(auth=AuthSettings(public=("/health", "/predictions/current")))
    assert world.stranger.get("/predictions/current").status_code == 200
    assert world.stranger.get("/status").status_code == 401
    assert world.stranger.get("/predictions/ppdb001").status_code == 401


def test_a_public_path_that_does_not_exist_is_named(build_world: BuildWorld) -> None:
    with pytest.raises(ConfigError, match=r"auth\.public names /helth"):
        build_world(auth=AuthSettings(public=("/health", "/helth")))


def test_wrong_keys_do_not_fill_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(LINES_PER_MINUTE + 20):
        assert world.stranger.get("/admin/models", headers={"X-API-Key": "a-wrong-secret"}).status_code == 401
    assert 0 < len([line for line in caplog.messages if "wrong API key" in line]) < LINES_PER_MINUTE + 20
