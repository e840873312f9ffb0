"""Collectors as they are: what they send in which order, through the routes into the window."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.web_world import NOW, ApiResponse, BuildWorld, World

from nordiq_watch.config.schema import DEFAULT_METRICS, WindowSettings
from nordiq_watch.web.app import create_app
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.slot_ends import say_slot_ends

T = (NOW // 300 - 12) * 300
"""On the grid, an hour before now."""

Series = tuple[str, Mapping[str, str], Sequence[tuple[float, float]]]


@pytest.fixture
def world(build_world: BuildWorld) -> World:
    return build_world(metrics=DEFAULT_METRICS, window=WindowSettings(length=288, max_servers=20))


def one(name: str, *samples: tuple[float, float], instance: str = "web1:9100", **labels: str) -> Series:
    """samples: (seconds after T, value)."""
    return name, {"instance": instance, **labels}, [(T + at, value) for at, value in samples]


def remote_write(world: World, *series: Series) -> ApiResponse:
    body = pack(write_v1(Sent({"__name__": name, **labels}, samples) for name, labels, samples in series))
    return world.client.post("/feed/prometheus", data=body, headers=V1_HEADERS)


def metric(name: str, at: float, *, tags: Mapping[str, str] = {}, **fields: float) -> dict[str, Any]:
    return {"name": name, "tags": {"host": "web1", **tags}, "fields": fields, "timestamp": T + at}


def telegraf(world: World, *metrics: dict[str, Any]) -> ApiResponse:
    return world.client.post("/feed/telegraf", json={"metrics": metrics})


def slots(world: World, name: str, *, count: int, server: str = "web1") -> list[float | None]:
    """The values of a metric in the slots from T on; None where it was not measured."""
    history = world.services.ingest.window.history(server)
    if history is None:
        return [None] * count
    newest, _, values = history
    rows = [len(values) - 1 - (newest - int(T // 300) - number) for number in range(count)]
    column = world.services.ingest.window.metrics.index(name)
    found = [float(values[row, column]) if 0 <= row < len(values) else math.nan for row in rows]
    return [None if np.isnan(value) else round(value, 3) for value in found]


def every(seconds: float, count: int, value: float = 0.0, growth: float = 0.0) -> list[tuple[float, float]]:
    return [(number * seconds, value + number * growth) for number in range(count)]


@pytest.mark.parametrize("reverse", [False, True])
def test_shards_after_an_outage_are_one_server(world: World, reverse: bool) -> None:
    shards = [
        one("node_memory_MemAvailable_bytes", *every(300, 10, 40.0)),
        one("node_memory_MemTotal_bytes", *every(300, 10, 100.0)),
    ]
    for shard in reversed(shards) if reverse else shards:
        assert remote_write(world, shard).status_code == 200
    assert slots(world, "mem_used_pct", count=10) == [60.0] * 10


@pytest.mark.parametrize("reverse", [False, True])
def test_processors_in_two_shards_are_one_share(world: World, reverse: bool) -> None:
    def shard(cpu: str, busy: float) -> list[Series]:
        return [
            one("node_cpu_seconds_total", *every(300, 10, 1000.0, 300 * share), cpu=cpu, mode=mode)
            for mode, share in (("user", busy), ("idle", 1 - busy))
        ]

    both = [shard("0", 0.5), shard("1", 0.1)]
    for series in reversed(both) if reverse else both:
        assert remote_write(world, *series).status_code == 200
    assert slots(world, "cpu_user_pct", count=10) == [None] + [30.0] * 9


def test_a_late_batch_goes_to_its_slot(world: World) -> None:
    remote_write(world, one("node_load1", (600, 1.0)))
    assert remote_write(world, one("node_load1", (300, 0.9))).json["records_received"] == 1
    assert slots(world, "load_average", count=3) == [None, 0.9, 1.0]


def test_a_late_batch_of_telegraf_goes_to_its_slot(world: World) -> None:
    telegraf(world, metric("system", 600, load1=1.0))
    telegraf(world, metric("system", 300, load1=0.9))
    assert slots(world, "load_average", count=3) == [None, 0.9, 1.0]


def test_a_late_batch_of_a_counter_goes_to_its_slot(world: World) -> None:
    name = "node_network_receive_bytes_total"
    samples = every(60, 15, 1e9, 60e6)
    for part in (samples[10:], samples[:5], samples[5:10]):
        remote_write(world, one(name, *part, device="eth0"))
    assert slots(world, "net_in_mb_s", count=3) == [1.0] * 3


def test_four_samples_of_90_and_one_of_10_are_74(world: World) -> None:
    for at, load in ((0, 90), (60, 90), (120, 90), (180, 90), (240, 10)):
        remote_write(world, one("node_load1", (at, load)))
    assert slots(world, "load_average", count=1) == [74.0]
    remote_write(world, one("node_load1", (240, 10)))
    assert slots(world, "load_average", count=1) == [74.0], "a resend changes nothing"


@pytest.mark.parametrize(("aggregate", "value"), [("mean", 3.0), ("last", 2.0), ("max", 6.0)])
def test_a_slot_is_aggregated_as_its_metric_is(build_world: BuildWorld, aggregate: str, value: float) -> None:
    window = WindowSettings(length=288, aggregate={"load_average": aggregate})  # type: ignore[dict-item]
    world = build_world(metrics=DEFAULT_METRICS, window=window)
    for at, load in ((0, 1.0), (10, 6.0), (20, 2.0)):
        remote_write(world, one("node_load1", (at, load)))
    assert slots(world, "load_average", count=1) == [value]


def test_interfaces_that_come_and_go_do_not_hold_the_others_up(world: World) -> None:
    for minute in range(10):
        telegraf(
            world,
            metric("net", 60 * minute, tags={"interface": "eth0"}, bytes_recv=1e9 + minute * 6e7),
            metric("net", 60 * minute, tags={"interface": f"veth{minute:03}"}, bytes_recv=1000),
        )
        if minute:
            assert slots(world, "net_in_mb_s", count=2)[minute // 5] == 1.0
    assert slots(world, "net_in_mb_s", count=2) == [1.0, 1.0]


def test_interfaces_of_a_container_that_lives_for_some_minutes_are_counted_while_they_are_there(world: World) -> None:
    for minute in range(40):
        growth = [metric("net", 60 * minute, tags={"interface": "eth0"}, bytes_recv=1e9 + minute * 6e7)]
        if 5 <= minute < 10:
            growth.append(metric("net", 60 * minute, tags={"interface": "veth0"}, bytes_recv=minute * 6e7))
        telegraf(world, *growth)
    assert slots(world, "net_in_mb_s", count=8) == [1.0, 2.0, *[1.0] * 6]


def test_a_percentage_a_little_below_zero_costs_nothing(world: World) -> None:
    total = {"cpu": "cpu-total"}
    answer = telegraf(
        world,
        metric("cpu", 0, tags=total, usage_idle=-0.0519, usage_user=38.2, usage_system=56.8),
        metric("mem", 0, available_percent=58.5),
        metric("disk", 0, tags={"path": "/"}, used_percent=41),
        metric("system", 0, load1=0.7),
    )
    assert (answer.status_code, answer.json["clipped"], "rejected" in answer.json) == (200, 1, False)
    values = {
        "cpu_idle_pct": 0.0, "cpu_user_pct": 38.2, "cpu_sys_pct": 56.8,
        "mem_used_pct": 41.5, "disk_usage_pct": 41.0, "load_average": 0.7,
    }  # fmt: skip
    assert {name: slots(world, name, count=1)[0] for name in values} == values


@pytest.mark.parametrize("bad", [-50.0, 250.0])
def test_a_percentage_far_outside_costs_itself_and_is_named(world: World, bad: float) -> None:
    answer = telegraf(world, metric("swap", 0, used_percent=bad), metric("system", 0, load1=0.7))
    assert answer.json["values_left_out"] == 1
    assert answer.json["values_left_out_reason"] == f"a series of web1 is {bad:g}"
    assert (slots(world, "swap_used_pct", count=1), slots(world, "load_average", count=1)) == ([None], [0.7])
    shown = world.stranger.get("/metrics").text
    assert 'nordiq_watch_feed_dropped_total{format="telegraf",reason="out_of_range"} 1.0' in shown


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0])
def test_a_bad_value_of_remote_write_costs_itself(world: World, bad: float) -> None:
    answer = remote_write(
        world,
        one("node_load1", (0, 1.0), (30, bad), (60, 3.0)),
        one("node_network_receive_bytes_total", (0, 1e6), (30, bad), (60, 61e6), device="eth0"),
    )
    assert (answer.status_code, answer.json["values_left_out"]) == (200, 2)
    assert slots(world, "load_average", count=1) == [2.0]
    assert slots(world, "net_in_mb_s", count=1) == [1.0]


def test_a_metric_with_a_hundred_and_one_tags_is_passed_over(world: World) -> None:
    many = metric("redis", 0, tags={f"t{number}": "x" for number in range(101)}, clients=3)
    answer = telegraf(world, metric("mem", 0, available_percent=58.5), many)
    assert (answer.status_code, answer.json["passed_over"]) == (200, 1)
    assert slots(world, "mem_used_pct", count=1) == [41.5]


def test_two_hosts_behind_one_name_make_no_rate_that_cannot_be(world: World) -> None:
    name = "node_network_receive_bytes_total"
    for at in (0, 15, 30):
        for late, total in ((0, 1e12), (5, 5e9)):
            remote_write(world, one(name, (at + late, total + at * 1e6), instance="both:9100", device="eth0"))
    (rate,) = slots(world, "net_in_mb_s", count=1, server="both")
    assert rate is None or rate < 1000


def replay(world: World, batches: Iterable[Sequence[Series]]) -> list[list[float | None]]:
    for batch in batches:
        assert remote_write(world, *batch).status_code == 200
    return [slots(world, name, count=4) for name in ("cpu_user_pct", "net_in_mb_s", "mem_used_pct", "load_average")]


def scrape(at: float, *, shard: int | None = None) -> list[Series]:
    """What a node_exporter says at a moment, or every second series of it."""
    series = [
        *(one("node_cpu_seconds_total", (at, 1e5 + 0.2 * at), cpu=cpu, mode="user") for cpu in "01"),
        *(one("node_cpu_seconds_total", (at, 9e5 + 0.8 * at), cpu=cpu, mode="idle") for cpu in "01"),
        *(one("node_network_receive_bytes_total", (at, 1e9 + 2e6 * at), device=device) for device in ("a", "b")),
        one("node_memory_MemAvailable_bytes", (at, 30.0)),
        one("node_memory_MemTotal_bytes", (at, 100.0)),
        one("node_load1", (at, 2.0)),
    ]
    return series if shard is None else series[shard::2]


TIDY = [[20.0] * 4, [4.0] * 4, [70.0] * 4, [2.0] * 4]


@pytest.mark.parametrize(
    "batches",
    [
        [scrape(at) for at in range(0, 1200, 15)],
        [scrape(at) for at in reversed(range(0, 1200, 60))],
        [scrape(at, shard=shard) for shard in (1, 0) for at in range(0, 1200, 60)],
        [scrape(at + 13 * shard, shard=shard) for at in range(0, 1200, 60) for shard in (0, 1)],
        [scrape(at + (at * 7) % 40) for at in range(0, 1200, 120)],
        [scrape(at) for at in range(0, 1200, 60) for _ in range(2)],
        [scrape(at) for at in range(0, 1200, 250)],
    ],
    ids=["tidy", "backwards", "by shards", "skewed", "jittered", "twice", "slow"],
)
def test_the_slots_are_those_of_one_tidy_sender(world: World, batches: list[list[Series]]) -> None:
    assert replay(world, batches) == TIDY


def restarted(world: World, directory: Path, *, killed: bool = False) -> World:
    """The app of a process that comes after, on the window that the one before left."""
    if not killed:
        translators(world.client.application).save(directory)
    services = replace(world.services, registry=CollectorRegistry())
    app = create_app(services)
    translators(app).restore(directory)
    return World(services, app, world.reloads, world.models_dir)


def test_a_restart_in_the_middle_changes_no_slot(world: World, tmp_path: Path) -> None:
    batches = [scrape(at) for at in range(0, 1200, 60)]
    for number in range(0, 20, 7):
        replay(world, batches[number : number + 7])
        world = restarted(world, tmp_path)
    assert replay(world, []) == TIDY


def test_after_a_kill_slots_go_on(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = restarted(world, tmp_path, killed=True)
    batches = [scrape(at) for at in range(0, 1200, 60)]
    for number in range(0, 20, 7):
        replay(world, batches[number : number + 7])
        world = restarted(world, tmp_path, killed=True)
    assert replay(world, []) == TIDY
    assert caplog.messages == []


def test_a_server_that_was_forgotten_is_not_brought_back_by_a_kill(world: World, tmp_path: Path) -> None:
    world = restarted(world, tmp_path, killed=True)
    remote_write(world, one("node_load1", (0, 1.0)), one("node_load1", (0, 1.0), instance="web2:9100"))
    assert world.client.delete("/servers/web1").status_code == 200
    world = restarted(world, tmp_path, killed=True)
    say_slot_ends(world.client.application)
    assert slots(world, "load_average", count=1) == [None]
    assert slots(world, "load_average", count=1, server="web2") == [1.0]


def test_without_a_log_a_slot_keeps_its_value_until_more_than_half_of_it_came_anew(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remote_write(world, one("node_load1", *every(15, 14, 1.0)))
    world = restarted(world, tmp_path, killed=True)
    remote_write(world, one("node_load1", (225, 9.0), (240, 9.0)), one("node_load1", (300, 9.0)))
    assert slots(world, "load_average", count=2) == [1.0, 9.0]
    remote_write(world, one("node_load1", *every(15, 14, 1.0)))
    assert slots(world, "load_average", count=2) == [2.0, 9.0], "the sender repeats what was not answered"
    assert caplog.messages == []


@pytest.mark.parametrize("content", [b"damaged", b"\x93\x63\x00\x80"])
def test_a_state_that_cannot_be_read_is_said_in_one_line(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / "collectors.msgpack").write_bytes(content)
    world = restarted(world, tmp_path, killed=True)
    assert [message.split(": ")[0].partition(" is not read")[0] for message in caplog.messages] == [
        str(tmp_path / "collectors.msgpack")
    ]
    remote_write(world, one("node_load1", (0, 1.0)))
    assert slots(world, "load_average", count=1) == [1.0]
