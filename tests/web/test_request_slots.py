"""Whatever is asked for at once, some of the server's threads are left for feeds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
from support.web_world import World

from nordiq_watch.web.explain import routes as explain
from nordiq_watch.web.historical import routes as historical
from nordiq_watch.web.request_slots import Purpose, RequestSlots


@pytest.mark.parametrize(
    ("threads", "each", "both"), [(1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 2, 3), (8, 4, 6), (16, 8, 12)]
)
def test_each_purpose_has_half_of_the_threads_and_both_three_quarters(threads: int, each: int, both: int) -> None:
    def count(purposes: Sequence[Purpose]) -> int:
        request_slots = RequestSlots(threads)
        with ExitStack() as stack:
            return sum(stack.enter_context(request_slots.hold(purpose)) for purpose in purposes)

    assert count(["answer"] * 20) == count(["reload"] * 20) == each
    assert count(["answer", "reload"] * 20) == both


def test_a_seat_is_free_again_after_the_block_and_after_an_error() -> None:
    request_slots = RequestSlots(2)
    with pytest.raises(RuntimeError), request_slots.hold("answer") as held:
        assert held
        raise RuntimeError
    with request_slots.hold("answer") as first, request_slots.hold("answer") as second:
        assert (first, second) == (True, False)
    with request_slots.hold("reload") as again:
        assert again


@pytest.mark.parametrize(
    "path",
    [
        "/explain/ppdb001",
        "/historical/summary",
        "/historical/alerts",
        "/historical/environment",
        "/historical/server/ppdb001",
        "/historical/export/alerts",
        "/historical/export/environment",
    ],
)
def test_an_answer_that_is_computed_waits_for_no_seat(world: World, path: str) -> None:
    """503 at once, while feeds and answers that are ready go on; with a seat it is computed."""
    request_slots = world.app.extensions["nordiq_watch.seats"]
    with request_slots.hold("answer") as held:
        assert held
        answer = world.client.get(path)
        assert (answer.status_code, answer.headers["Retry-After"], answer.json["error"]) == (503, "1", "Busy")
        assert world.client.get("/predictions/current").status_code == 200
        assert world.client.post("/feed/data", json={"records": []}).status_code == 200
        assert world.stranger.get(path).status_code == 401
    assert world.client.get(path).status_code in (200, 404)


def test_no_route_of_these_is_forgotten(world: World) -> None:
    """Each of their views is wrapped."""
    rules = [
        rule
        for rule in world.app.url_map.iter_rules()
        if rule.endpoint.split(".")[0] in (explain.name, historical.name)
    ]
    assert len(rules) == 7
    assert all(hasattr(world.app.view_functions[rule.endpoint], "__wrapped__") for rule in rules)


def test_seats_are_counted_from_any_thread() -> None:
    request_slots, granted = RequestSlots(8), []
    together = threading.Barrier(20)

    def sit() -> None:
        together.wait(20)
        with request_slots.hold("answer") as held:
            granted.append(held)
            together.wait(20)

    threads = [threading.Thread(target=sit) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert granted.count(True) == 4
