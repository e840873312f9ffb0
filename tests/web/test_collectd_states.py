"""collectd's parts of a whole, each a value list of its own: a slot is the same however they are cut into requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from support.web_world import NOW, BuildWorld, World

from nordiq_watch.config.schema import DEFAULT_METRICS, WindowSettings

T = int(NOW // 300 - 12) * 300
SLOTS, EVERY = 4, 60
MEMORY = {"used": 30.0, "buffered": 5.0, "cached": 25.0, "free": 28.0, "slab_recl": 2.0, "slab_unrecl": 10.0}
CPU = {
    "user": 20.0,
    "nice": 1.0,
    "system": 6.0,
    "interrupt": 1.0,
    "softirq": 2.0,
    "wait": 4.0,
    "steal": 0.0,
    "idle": 66.0,
}
DISK = {"free": 12.0, "used": 80.0, "reserved": 8.0}
GIGABYTE = 1e9


@pytest.fixture
def world(build_world: BuildWorld) -> World:
    return build_world(metrics=DEFAULT_METRICS, window=WindowSettings(length=288, max_servers=20))


def value_lists(plugin: str, kind: str, states: dict[str, float], *, instance: str = "", scale: float = 1.0) -> Any:
    """One measurement a minute over four slots, state by state."""
    for at in range(T, T + SLOTS * 300, EVERY):
        for state, share in states.items():
            yield {
                "values": [share * scale],
                "dstypes": ["gauge"],
                "dsnames": ["value"],
                "time": float(at),
                "interval": float(EVERY),
                "host": "web1",
                "plugin": plugin,
                "plugin_instance": instance,
                "type": kind,
                "type_instance": state,
            }


def cut(lists: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(lists), size):
        yield lists[begin : begin + size]


def slots_of(world: World, metric: str) -> list[float]:
    """The values of the slots from T on."""
    history = world.services.ingest.window.history("web1")
    assert history is not None
    newest, _, values = history
    first = len(values) - 1 - (newest - T // 300)
    column = world.services.ingest.window.metrics.index(metric)
    return [round(float(value), 3) for value in values[first : first + SLOTS, column]]


@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
@pytest.mark.parametrize(
    ("metric", "expected", "sent"),
    [
        ("mem_used_pct", 40.0, ("memory", "memory", MEMORY, "", 0.32 * GIGABYTE)),
        ("mem_used_pct", 40.0, ("memory", "percent", MEMORY, "", 1.0)),
        ("cpu_user_pct", 21.0, ("cpu", "percent", CPU, "", 1.0)),
        ("cpu_sys_pct", 9.0, ("cpu", "percent", CPU, "1", 1.0)),
        ("disk_usage_pct", 88.0, ("df", "df_complex", DISK, "root", GIGABYTE)),
        ("disk_usage_pct", 88.0, ("df", "percent_bytes", DISK, "root", 1.0)),
    ],
    ids=["memory", "memory in percent", "cpu in percent", "one processor in percent", "disk", "disk in percent"],
)
def test_a_share_is_that_of_all_states_however_they_are_cut_into_requests(
    world: World, metric: str, expected: float, sent: tuple[str, str, dict[str, float], str, float], size: int
) -> None:
    plugin, kind, states, instance, scale = sent
    lists = list(value_lists(plugin, kind, states, instance=instance, scale=scale))
    for body in cut(lists, size):
        assert world.client.post("/feed/collectd", json=body).status_code == 200
    assert slots_of(world, metric) == [expected] * SLOTS


def test_of_a_processor_that_only_says_how_active_it_is_nothing_is_made(world: World) -> None:
    world.client.post("/feed/collectd", json=list(value_lists("cpu", "percent", {"active": 34.0})))
    assert world.services.ingest.window.history("web1") is None
