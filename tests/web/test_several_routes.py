"""One server by several routes: a metric of a slot is that of the first in the order, the others' are duplicates."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.translators import Clock
from support.web_world import NOW, BuildWorld, World

from nordiq_watch.config.schema import DEFAULT_METRICS, WindowSettings
from nordiq_watch.web.app import create_app
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.slot_ends import say_slot_ends

T = (NOW // 300 - 12) * 300


@pytest.fixture
def world(build_world: BuildWorld) -> World:
    return build_world(metrics=DEFAULT_METRICS, window=WindowSettings(length=288, max_servers=20))


def prometheus(world: World, at: float, load: float) -> Any:
    labels = {"__name__": "node_load1", "instance": "web1:9100"}
    body = pack(write_v1([Sent(labels, [(T + at, load)])]))
    return world.client.post("/feed/prometheus", data=body, headers=V1_HEADERS)


def telegraf(world: World, at: float, load: float) -> Any:
    metric = {"name": "system", "tags": {"host": "web1"}, "fields": {"load1": load}, "timestamp": T + at}
    return world.client.post("/feed/telegraf", json={"metrics": [metric]})


def influx(world: World, at: float, load: float) -> Any:
    line = f"system,host=web1 load1={load} {int(T + at)}"
    return world.client.post("/api/v2/write?precision=s", data=line)


SENDS = {1.0: prometheus, 2.0: telegraf, 3.0: influx}


def loads(world: World, count: int = 1) -> list[float]:
    return measured(world, "load_average", count)


def measured(world: World, metric: str, count: int = 1) -> list[float]:
    history = world.services.ingest.window.history("web1")
    assert history is not None
    newest, _, values = history
    first = len(values) - 1 - (newest - int(T // 300))
    column = world.services.ingest.window.metrics.index(metric)
    return [float(value) for value in values[first : first + count, column]]


def restarted(world: World, directory: Path, clock: Clock | None = None) -> World:
    services = replace(world.services, registry=CollectorRegistry(), clock=clock or world.services.clock)
    app = create_app(services)
    translators(app).restore(directory)
    return World(services, app, world.reloads, world.models_dir)


@pytest.mark.parametrize("order", list(itertools.permutations(SENDS)))
@pytest.mark.parametrize("restart", [None, 1, 2, 3])
def test_whatever_comes_first_the_slot_is_that_of_the_first_route(
    world: World, tmp_path: Path, order: tuple[float, ...], restart: int | None
) -> None:
    world = restarted(world, tmp_path)
    for number, load in enumerate(order, start=1):
        assert SENDS[load](world, 10, load).status_code in (200, 204)
        if number == restart:
            world = restarted(world, tmp_path)
            say_slot_ends(world.client.application)
    assert loads(world) == [1.0]


def test_a_route_that_falls_silent_leaves_the_following_slots_to_the_next(world: World) -> None:
    for slot in range(4):
        if slot < 2:
            prometheus(world, 300 * slot, 1.0)
        telegraf(world, 300 * slot, 2.0)
    assert loads(world, 4) == [1.0, 1.0, 2.0, 2.0]


def test_the_reason_is_the_true_one(world: World) -> None:
    prometheus(world, 0, 1.0)
    answer = telegraf(world, 0, 2.0)
    assert (answer.status_code, answer.json["status"]) == (200, "ignored")
    assert "load_average of web1 also comes by prometheus, which goes first" in answer.json["reason"]
    assert "values_left_out" not in answer.json
    shown = world.stranger.get("/metrics").text
    assert 'nordiq_watch_feed_dropped_total{format="telegraf",reason="duplicate"} 1.0' in shown


def test_a_route_that_comes_when_a_slot_is_over_for_all_adds_only_what_it_lacks(world: World, tmp_path: Path) -> None:
    clock = Clock()
    clock.now = NOW - 7200
    world = restarted(world, tmp_path, clock)
    clock.now = NOW
    influx(world, 10, 3.0)
    for _ in range(3):  # in which the slot is closed
        clock.now += 1200
        say_slot_ends(world.client.application)
    prometheus(world, 10, 1.0)
    prometheus(world, 20, 1.0)
    assert loads(world) == [3.0], "although it goes first"
    metric = {"name": "mem", "tags": {"host": "web1"}, "fields": {"available_percent": 40.0}, "timestamp": T + 10}
    assert world.client.post("/feed/telegraf", json={"metrics": [metric]}).json["status"] == "warming_up"
    assert measured(world, "mem_used_pct") == [60.0]
    world = restarted(world, tmp_path)
    say_slot_ends(world.client.application)
    answer = prometheus(world, 30, 1.0)
    assert loads(world) == [3.0], "over a restart too"
    assert "load_average of web1 also comes by another route, which goes first" in answer.json["reason"]


def test_a_route_that_goes_later_writes_nothing_before_the_first_is_heard_again(world: World, tmp_path: Path) -> None:
    world = restarted(world, tmp_path)
    prometheus(world, 10, 1.0)
    world = restarted(world, tmp_path)
    telegraf(world, 10, 2.0)
    assert loads(world) == [1.0], "in the seconds before what was known is said"
    telegraf(world, 300, 2.0)
    assert loads(world, 2) == [1.0, 2.0], "a slot that the first did not have waits for nothing"
    say_slot_ends(world.client.application)
    telegraf(world, 10, 2.0)
    assert loads(world, 2) == [1.0, 2.0]


def test_what_was_put_off_for_a_route_that_does_not_say_it_is_said(world: World, tmp_path: Path) -> None:
    world = restarted(world, tmp_path)
    labels = {"__name__": "node_boot_time_seconds", "instance": "web1:9100"}
    body = pack(write_v1([Sent(labels, [(T + 10, T - 86_400)])]))
    world.client.post("/feed/prometheus", data=body, headers=V1_HEADERS)
    world = restarted(world, tmp_path)
    telegraf(world, 10, 2.0)
    say_slot_ends(world.client.application)
    telegraf(world, 20, 2.0)
    assert loads(world) == [2.0]
