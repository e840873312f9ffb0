"""Which server a collector's series belongs to, through the real routes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.web_world import NOW, ApiResponse, BuildWorld, World

from nordiq_watch.api.enums import Media
from nordiq_watch.config.schema import FeederSettings, RelabelRule, WindowSettings

METRICS = ("load_average", "mem_used_pct", "net_in_mb_s")
T = NOW - NOW % 300 - 900
HOST = {"instance": "web1:9100", "job": "node"}


@pytest.fixture
def fleet(build_world: BuildWorld) -> World:
    return make_fleet(build_world)


def make_fleet(build_world: BuildWorld, **feeders: Any) -> World:
    return build_world(
        metrics=METRICS,
        window=WindowSettings(length=12, max_servers=9, silent_seconds=3600),
        feeders=FeederSettings(**feeders),
    )


def write(world: World, *series: tuple[str, Mapping[str, str], list[tuple[float, float]]]) -> ApiResponse:
    """series: name, labels, and (value, moment) of each sample."""
    sent = [
        Sent({"__name__": name, **labels}, [(at, value) for value, at in samples]) for name, labels, samples in series
    ]
    return world.client.post("/feed/prometheus", data=pack(write_v1(sent)), headers=V1_HEADERS)


def scrape(world: World, at: float, **labels: str) -> ApiResponse:
    merged = {**HOST, **labels}
    return write(
        world,
        ("node_load1", merged, [(0.5, at)]),
        ("node_memory_MemAvailable_bytes", merged, [(25.0, at)]),
        ("node_memory_MemTotal_bytes", merged, [(100.0, at)]),
    )


def slots_of(world: World, server: str, metric: str) -> list[float]:
    """What the window has of a metric, without the slots that have none."""
    history = world.services.ingest.window.history(server)
    assert history is not None
    values = history[2][:, METRICS.index(metric)]
    return [round(float(value), 3) for value in values if value == value]


def servers_of(world: World) -> set[str]:
    return set(world.services.ingest.window.attendance().servers)


@pytest.mark.parametrize("lag", [7.0, 0.0])
@pytest.mark.parametrize(
    ("label", "pair"),
    [
        ("prometheus_replica", ("a", "b")),
        ("replica", ("0", "1")),
        ("__replica__", ("x", "y")),
        ("job", ("node", "exp")),
    ],
)
def test_a_pair_of_collectors_is_one_server_counted_once(
    fleet: World, label: str, pair: tuple[str, str], lag: float
) -> None:
    for number in range(40):  # slots of 300 s, a scrape each 30 s
        assert scrape(fleet, T + 30 * number - 300, **{label: pair[0]}).status_code == 200
        assert scrape(fleet, T + 30 * number - 300 + lag, **{label: pair[1]}).status_code == 200
    assert servers_of(fleet) == {"web1"}
    assert slots_of(fleet, "web1", "load_average") == [0.5] * 4
    assert slots_of(fleet, "web1", "mem_used_pct") == [75.0] * 4


def test_when_one_replica_dies_the_other_goes_on(fleet: World) -> None:
    for number in range(10):
        scrape(fleet, T + 30 * number, prometheus_replica="a")
        if number < 3:
            scrape(fleet, T + 30 * number + 7, prometheus_replica="b")
    assert slots_of(fleet, "web1", "mem_used_pct") == [75.0]


@pytest.mark.parametrize("label", ["localhost:9100", "127.0.0.1:9100", "[::1]:9100", ":9100", "localhost.localdomain"])
def test_hosts_that_call_themselves_loopback_are_no_server_and_are_told(
    fleet: World, label: str, caplog: pytest.LogCaptureFixture
) -> None:
    def traffic(*samples: tuple[float, float]) -> ApiResponse:
        labels = {"instance": label, "device": "eth0"}
        return write(fleet, ("node_network_receive_bytes_total", labels, list(samples)))

    for step in (0, 15, 30):
        mine = traffic((1e12 + 1e6 * step, T + step))
        traffic((5e9 + 1e6 * step, T + 5 + step))
        assert (mine.status_code, mine.json["status"], mine.json["series_left_out"]) == (200, "ignored", 1)
        (reason,) = mine.json["left_out_reasons"]
        for words in ("loopback", "relabel_configs", "feeders.prometheus.server_label", "feeders.relabel"):
            assert words in reason
    assert servers_of(fleet) == set()
    assert len(caplog.messages) == 1, "the next line is due in an hour"
    assert 'left_out_total{cause="loopback"} 6.0' in fleet.client.get("/metrics").text


def test_a_loopback_beside_real_servers_costs_itself_alone(fleet: World) -> None:
    answer = write(fleet, ("node_load1", HOST, [(0.5, T)]), ("node_load1", {"instance": "localhost:9100"}, [(0.9, T)]))
    assert (answer.status_code, answer.json["records_received"], answer.json["series_left_out"]) == (200, 1, 1)
    assert servers_of(fleet) == {"web1"}


def test_telegraf_on_a_host_that_is_called_localhost_is_told(fleet: World) -> None:
    metric = {"name": "system", "tags": {"host": "localhost"}, "fields": {"load1": 1.0}, "timestamp": NOW}
    answer = fleet.client.post("/feed/telegraf", json={"metrics": [metric]})
    assert (answer.status_code, answer.json["series_left_out"]) == (200, 1)
    assert "hostname in Telegraf" in answer.json["left_out_reasons"][0]
    assert "feeders.telegraf.server_label" in answer.json["left_out_reasons"][0]


@pytest.mark.parametrize(
    ("labels", "server"),
    [
        (("web1:9100", "http://web1:9100/metrics", "web1.", " web1 "), "web1"),
        (("[2001:db8::1]:9100", "2001:db8::1", "http://[2001:DB8::1]:9100/"), "2001:db8::1"),
        (("caf\u00e9:9100", "cafe\u0301:9100"), "caf\u00e9"),
    ],
)
def test_spellings_of_one_target_are_one_server(fleet: World, labels: tuple[str, ...], server: str) -> None:
    for number, label in enumerate(labels):
        write(fleet, ("node_load1", {"instance": label}, [(1.0, T + number)]))
    assert servers_of(fleet) == {server}


@pytest.mark.parametrize("spelling", ["web\u00e9 ", "\tweb\u00e9", unicodedata.normalize("NFD", "web\u00e9")])
def test_feed_collectors_and_urls_have_one_rule_for_blanks_and_accents(fleet: World, spelling: str) -> None:
    stamp, metric = NOW, {"name": "system", "tags": {"host": spelling}, "fields": {"load1": 1.0}, "timestamp": NOW}
    fed = fleet.client.post(
        "/feed/data", json={"records": [{"timestamp": stamp, "server_name": spelling, "load_average": 1.0}]}
    )
    assert fed.status_code == 200
    sink = BytesIO()
    table = pa.table({"timestamp": [NOW], "server_name": [spelling], "load_average": [1.0]})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    arrow = fleet.client.post("/feed/data", data=sink.getvalue(), content_type=Media.ARROW)
    assert arrow.status_code == 200
    assert fleet.client.post("/feed/telegraf", json={"metrics": [metric]}).status_code == 200
    assert write(fleet, ("node_load1", {"instance": f"{spelling}:9100"}, [(1.0, NOW)])).status_code == 200
    assert servers_of(fleet) == {"web\u00e9"}
    assert fleet.client.delete(f"/servers/{spelling}").status_code == 200


def test_names_that_differ_in_case_alone_are_two_servers_and_are_said_once(
    fleet: World, caplog: pytest.LogCaptureFixture
) -> None:
    for host in ("web1", "WEB1", "web1", "WEB1"):
        metric = {"name": "system", "tags": {"host": host}, "fields": {"load1": 1.0}, "timestamp": NOW}
        assert fleet.client.post("/feed/telegraf", json={"metrics": [metric]}).status_code == 200
    assert servers_of(fleet) == {"web1", "WEB1"}
    assert caplog.messages == ["the servers 'web1' and 'WEB1' differ in upper and lower case alone: they are two"]


def test_a_rule_of_the_operator_names_servers(build_world: BuildWorld) -> None:
    rules = (
        RelabelRule(source_labels=("node",), regex="(.+)"),
        RelabelRule(source_labels=("instance",), regex=r"([^.:]+)\.example\.net(:[0-9]+)?"),
        RelabelRule(source_labels=("environment",), regex="test|staging", action="drop"),
    )
    fleet = make_fleet(build_world, relabel=rules)
    write(fleet, ("node_load1", {"instance": "localhost:9100", "node": "node1:a"}, [(1.0, T)]))
    write(fleet, ("node_load1", {"instance": "web1.example.net:9100"}, [(1.0, T)]))
    dropped = write(fleet, ("node_load1", {"instance": "web2:9100", "environment": "test"}, [(1.0, T)]))
    assert dropped.json["left_out_reasons"] == ["1 series are left out, as of 'web2:9100', which feeders.relabel drops"]
    assert servers_of(fleet) == {"node1:a", "web1"}
