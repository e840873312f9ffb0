"""One server by several routes: a metric of a slot is that of the first in the order, the others' are duplicates."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
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
    history = world.services.ingest.window.history("web1")
    assert history is not None
    newest, _, values = history
    first = len(values) - 1 - (newest - int(T // 300))
    column = world.services.ingest.window.metrics.index("load_average")
    return [float(value) for value in values[first : first + count, column]]


def restarted(world: World, directory: Path) -> World:
    services = replace(world.services, registry=CollectorRegistry())
    app = create_app(services)
    translators(app).restore(directory)
    return World(services, app, world.reloads, world.models_dir)


@pytest.mark.parametrize("order", itertools.permutations(SENDS))
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
