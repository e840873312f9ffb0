"""Servers of several clusters, through the real routes: HOST, or HOST@CLUSTER with all that was known of HOST."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.remote_write import V1_HEADERS, Sent, node, pack, write_v1
from support.web_world import NOW, ApiResponse, BuildWorld, World, judge_memory

from nordiq_watch.config.schema import FeederSettings, WindowSettings
from nordiq_watch.errors import StorageError

SLOT = 300
T = NOW - NOW % SLOT - 1800


def make_fleet(build_world: BuildWorld, **feeders: Any) -> World:
    return build_world(
        metrics=("mem_used_pct", "load_average", "net_in_mb_s"),
        window=WindowSettings(length=12, max_servers=9, silent_seconds=3600),
        feeders=FeederSettings(**feeders),
    )


@pytest.fixture
def fleet(build_world: BuildWorld) -> World:
    return make_fleet(build_world)


def write(world: World, *series: Sent) -> ApiResponse:
    answer = world.client.post("/feed/prometheus", data=pack(write_v1(series)), headers=V1_HEADERS)
    assert answer.status_code == 200
    return answer


def load(value: float, slot: int, *, host: str = "web1", **labels: str) -> Sent:
    return node("node_load1", value, T + SLOT * slot, instance=f"{host}:9100", **labels)


def loads(world: World, server: str) -> dict[int, float]:
    """Slot, counted from T → what the window has."""
    history = world.services.ingest.window.history(server)
    assert history is not None, f"{server} is not there, but {servers_of(world)}"
    newest, _, values = history
    first = newest - len(values) + 1 - int(T // SLOT)
    return {first + row: round(float(value), 3) for row, value in enumerate(values[:, 1]) if value == value}


def servers_of(world: World) -> set[str]:
    return set(world.services.ingest.window.attendance().servers)


def restart(build_world: BuildWorld, world: World, **feeders: Any) -> World:
    world.services.ingest.worker.stop()
    world.services.ingest.worker.finish()
    again = make_fleet(build_world, **feeders)
    again.services.ingest.restore()
    return again


def test_with_one_cluster_servers_keep_their_names(fleet: World) -> None:
    write(fleet, load(1.0, 0, cluster="a"), load(2.0, 0, host="web2"))
    write(fleet, load(3.0, 1))
    assert servers_of(fleet) == {"web1", "web2"}
    assert loads(fleet, "web1") == {0: 1.0, 1: 3.0}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", ["ab", "ba"])
def test_with_two_clusters_a_server_is_host_at_cluster_in_any_order(fleet: World, order: str, together: bool) -> None:
    values = {"a": 1.0, "b": 2.0}
    for slot in (0, 1):
        sent = [load(values[cluster] + slot, slot, cluster=cluster) for cluster in order]
        for group in [sent] if together else [[one] for one in sent]:
            write(fleet, *group)
    assert servers_of(fleet) == {"web1@a", "web1@b"}
    assert loads(fleet, "web1@a") == {0: 1.0, 1: 2.0}
    assert loads(fleet, "web1@b") == {0: 2.0, 1: 3.0}


def test_servers_of_the_first_cluster_are_renamed_once_with_their_samples_and_counters(fleet: World) -> None:
    def traffic(seconds: float, **labels: str) -> Sent:
        labels |= {"device": "eth0", "cluster": "a"}
        return node("node_network_receive_bytes_total", 1e12 + 5e6 * seconds, T + seconds, **labels)

    write(fleet, traffic(0), load(1.0, 0, cluster="a"), load(1.5, 0, host="quiet", cluster="a"))
    write(fleet, load(7.0, 0, host="plain"))
    write(fleet, load(2.0, 1, cluster="b", host="web9"))
    assert servers_of(fleet) == {"web1@a", "quiet@a", "web9@b", "plain"}
    write(fleet, traffic(60))
    write(fleet, load(3.0, 1, cluster="a"), load(4.0, 1, cluster="c"), load(8.0, 1, host="plain"))
    assert servers_of(fleet) == {"web1@a", "quiet@a", "web9@b", "web1@c", "plain"}
    assert loads(fleet, "web1@a") == {0: 1.0, 1: 3.0}
    assert loads(fleet, "quiet@a") == {0: 1.5}
    assert loads(fleet, "plain") == {0: 7.0, 1: 8.0}
    values = fleet.services.ingest.window.history("web1@a")
    assert values is not None
    assert 5.0 in [round(float(value), 3) for value in values[2][:, 2] if value == value], "the counter goes on"


def test_alerts_history_and_pending_forecasts_follow_the_name(fleet: World) -> None:
    services = fleet.services
    write(fleet, load(1.0, 0, host="s0", cluster="a"))
    judge_memory(fleet, 99.0)
    assert [alert.server_name for alert in services.alerting.alerts.active] == ["s0"]
    raised = services.alerting.alerts.active[0].raised_at
    write(fleet, load(2.0, 0, host="s0", cluster="b"))
    (alert,) = fleet.client.get("/alerts/active").json["alerts"]
    assert alert["server_name"] == "s0@a"
    assert services.alerting.alerts.active[0].raised_at == raised
    assert services.history.writer.forget("nothing").result(60) is False  # what was queued before is written
    past = services.history.store.alerts(0, server="s0@a")
    assert [one.alert.server_name for one in past] == ["s0@a"]
    assert [one.server_name for one in services.history.store.unfinished()] == ["s0@a"]
    assert services.history.store.risks("s0@a", 0)
    assert not services.history.store.alerts(0, server="s0")
    assert not services.history.store.risks("s0", 0)


def test_a_restart_changes_no_name(build_world: BuildWorld, fleet: World) -> None:
    write(fleet, load(1.0, 0, cluster="a"))
    again = restart(build_world, fleet)
    write(again, load(2.0, 1, cluster="b"))
    assert servers_of(again) == {"web1@a", "web1@b"}
    once_more = restart(build_world, again)
    assert servers_of(once_more) == {"web1@a", "web1@b"}
    write(once_more, load(3.0, 1, cluster="a"))
    assert servers_of(once_more) == {"web1@a", "web1@b"}
    assert loads(once_more, "web1@a") == {0: 1.0, 1: 3.0}
    days = list(once_more.services.ingest.archive.files())
    assert days


def test_what_the_disk_refuses_is_done_later_and_until_then_names_stay(
    fleet: World, monkeypatch: pytest.MonkeyPatch, build_world: BuildWorld
) -> None:
    archive = fleet.services.ingest.archive

    def refuse(names: object) -> None:
        raise StorageError("the disk is full")

    write(fleet, load(1.0, 0, cluster="a"))
    with monkeypatch.context() as broken:
        broken.setattr(archive, "rename", refuse)
        write(fleet, load(5.0, 0, cluster="b"))
        assert servers_of(fleet) == {"web1", "web1@b"}
    again = restart(build_world, fleet)  # in the middle of it
    write(again, load(2.0, 1, cluster="a"))
    assert servers_of(again) == {"web1@a", "web1@b"}
    assert loads(again, "web1@a") == {0: 1.0, 1: 2.0}


def test_senders_at_once_leave_no_sample_under_an_old_name(fleet: World) -> None:
    def send(host: str, cluster: str) -> None:
        for slot in range(6):
            write(fleet, load(float(slot), slot, host=host, cluster=cluster))

    threads = [threading.Thread(target=send, args=(f"web{host}", cluster)) for cluster in "ab" for host in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert servers_of(fleet) == {"web1@a", "web2@a", "web1@b", "web2@b"}
    for server in servers_of(fleet):
        assert loads(fleet, server) == {slot: float(slot) for slot in range(6)}


def test_the_label_has_the_name_that_the_config_says(build_world: BuildWorld) -> None:
    fleet = make_fleet(build_world, cluster_label="datacenter")
    write(fleet, load(1.0, 0, cluster="a", datacenter="x"), load(1.0, 0, cluster="b", datacenter="y"))
    assert servers_of(fleet) == {"web1@x", "web1@y"}


def test_without_a_label_clusters_are_one(build_world: BuildWorld, tmp_path: Path) -> None:
    fleet = make_fleet(build_world, cluster_label=None)
    write(fleet, load(1.0, 0, cluster="a"), load(1.0, 0, cluster="b"))
    assert servers_of(fleet) == {"web1"}
    assert not (tmp_path / "state" / "clusters.json").exists()


def test_what_was_learnt_is_plain_json(fleet: World, tmp_path: Path) -> None:
    write(fleet, load(1.0, 0, cluster=" a "), load(1.0, 0, host="web2", cluster="a"))
    known = msgspec.json.decode((tmp_path / "state" / "clusters.json").read_bytes())
    assert known == {"first": "a", "several": False, "hosts": ["web1", "web2"]}
