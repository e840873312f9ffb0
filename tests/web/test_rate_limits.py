"""Who asks too often is told so, by key and route, and nobody else is."""

from __future__ import annotations

from typing import Literal

import pytest
from support.web_world import FEED_KEY, KEY, READ_KEY, World

from nordiq_watch.api.enums import Role
from nordiq_watch.config.schema import LimitSettings
from nordiq_watch.errors import TooManyRequests
from nordiq_watch.security.rate_limits import RateLimits, limits_in_force

FEW = LimitSettings(mode="always", read_per_minute=3, feed_per_minute=2, admin_per_minute=1, refused_per_minute=2)


@pytest.fixture
def strict(world: World) -> World:
    """An app with few requests a minute."""
    world.services.security.rate_limits.replace(FEW)
    return world


def statuses(world: World, key: str | None, path: str, times: int, method: str = "GET") -> list[int]:
    headers = {} if key is None else {"X-API-Key": key}
    return [world.stranger.open(path, method=method, headers=headers).status_code for _ in range(times)]


def test_each_key_and_route_is_counted_for_itself(strict: World) -> None:
    assert statuses(strict, READ_KEY, "/admin/models", 5) == [200] * 3 + [429] * 2
    assert statuses(strict, READ_KEY, "/admin/reloads", 1) == [200]
    assert statuses(strict, KEY, "/admin/models", 1) == [200]


def test_the_limit_is_that_of_what_the_route_does(strict: World) -> None:
    assert statuses(strict, FEED_KEY, "/feed/data", 4, "POST") == [400, 400, 429, 429]
    strict.reloads.outcome = {"outcome": "unpinned"}
    assert statuses(strict, KEY, "/admin/unpin", 2, "POST") == [200, 429]
    assert len(strict.reloads.jobs) == 1


def test_a_refusal_says_when_to_come_back(strict: World) -> None:
    statuses(strict, KEY, "/admin/models", 3)
    answer = strict.client.get("/admin/models")
    assert answer.json["error"] == "Too many requests"
    assert "limits.read_per_minute" in answer.json["detail"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60


@pytest.mark.parametrize("path", ["/admin/models", "/nothing"])
def test_who_guesses_keys_is_stopped_on_whatever_path(strict: World, path: str) -> None:
    assert statuses(strict, "guess", path, 4) == [401, 401, 429, 429]
    assert statuses(strict, None, "/elsewhere", 1) == [429]
    assert statuses(strict, KEY, "/admin/models", 1) == [200]


def test_guesses_at_the_sign_in_count_too(strict: World) -> None:
    answers = [strict.stranger.post("/sign-in", data={"key": "guess"}).status_code for _ in range(3)]
    assert answers == [401, 429, 429]


def test_guesses_at_the_sign_in_and_elsewhere_are_counted_together(strict: World) -> None:
    statuses(strict, "guess", "/admin/models", 2)
    assert strict.stranger.post("/sign-in", data={"key": "guess"}).json["detail"].startswith("more than 2 requests")


def test_without_limits_nothing_is_counted(world: World) -> None:
    assert statuses(world, READ_KEY, "/admin/models", 50) == [200] * 50


def test_limits_can_be_changed_while_it_runs() -> None:
    rate_limits = RateLimits()
    rate_limits.count_allowed("a", Role.READ, "/x")
    rate_limits.replace(FEW)
    for _ in range(3):
        rate_limits.count_allowed("a", Role.READ, "/x")
    with pytest.raises(TooManyRequests):
        rate_limits.count_allowed("a", Role.READ, "/x")


@pytest.mark.parametrize(
    ("mode", "other_machines", "counts"),
    [("auto", False, False), ("auto", True, True), ("always", False, True), ("never", True, False)],
)
def test_when_requests_are_counted(
    mode: Literal["auto", "always", "never"], other_machines: bool, counts: bool
) -> None:
    assert (limits_in_force(LimitSettings(mode=mode), other_machines=other_machines) is not None) is counts
