"""`GET /feed/sources`, the metrics beside it, and what an answer says about series that no rule knows."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from support.remote_write import Sent, pack, write_v1
from support.web_world import FEED_KEY, NOW, READ_KEY, ApiResponse, BuildWorld, World, read_answer

from nordiq_watch.api.sources import Drop, FeedFormat, Source, Sources


def remote_write(*series: tuple[dict[str, str], float, float]) -> bytes:
    """Series as (labels, value, Unix seconds)."""
    return pack(write_v1(Sent(labels, [(at, value)]) for labels, value, at in series))


def write(world: World, *series: tuple[dict[str, str], float, float]) -> ApiResponse:
    headers = {"Content-Encoding": "snappy", "User-Agent": "Prometheus/2.42.0"}
    return world.client.post("/feed/prometheus", data=remote_write(*series), headers=headers)


def sources(world: World) -> list[Source]:
    return read_answer(world.client.get("/feed/sources"), Sources).sources


def counts(source: Source) -> dict[str, int]:
    return {dropped.reason.value: dropped.count for dropped in source.dropped}


OTEL = {"__name__": "jvm_memory_used_bytes", "host_name": "web1", "job": "x"}
TELEGRAF = {"__name__": "redis_clients", "host": "web1", "port": "6379"}
TOTAL = {"__name__": "node_memory_MemTotal_bytes", "instance": "web1:9100", "job": "node"}
FREE = TOTAL | {"__name__": "node_memory_MemAvailable_bytes"}


@pytest.mark.parametrize("labels", [OTEL, TELEGRAF])
def test_a_sender_whose_series_no_rule_knows_is_told_with_its_first_batch(
    world: World, labels: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = write(world, (labels, 1.0, NOW), (labels | {"cpu": "1"}, 2.0, NOW))
    assert (answer.status_code, answer.json["status"], answer.json["series_unknown"]) == (200, "ignored", 2)
    assert answer.json["unknown_examples"] == [labels["__name__"]]
    words = f"2 series came, no rule knows any of them, e.g. {labels['__name__']}; see docs/collectors.md"
    assert answer.json["reason"] == words
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line.startswith("2 series of prometheus at 127.0.0.1 (Prometheus/2.42.0) came, no rule knows any of them")
    for _ in range(20):
        write(world, (labels, 1.0, NOW))
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    (source,) = sources(world)
    assert (source.received, source.batches, source.taken, counts(source)) == (22, 21, 0, {"unknown_series": 22})
    assert source.unknown_names == [labels["__name__"]]
    metrics = world.client.get("/metrics").text
    assert 'nordiq_watch_feed_dropped_total{format="prometheus",reason="unknown_series"} 22.0' in metrics
    assert 'nordiq_watch_feed_received_total{format="prometheus"} 22.0' in metrics
    assert "nordiq_watch_feed_sources 1.0" in metrics


def test_unknown_series_beside_known_ones_are_counted_and_no_example_is_given(world: World) -> None:
    answer = write(world, (FREE, 25.0, NOW - 7), (TOTAL, 100.0, NOW - 7), (OTEL, 1.0, NOW))
    assert answer.status_code == 200
    (source,) = sources(world)
    assert (answer.json["series_unknown"], source.received, counts(source)["unknown_series"]) == (1, 3, 1)
    assert source.late_seconds == 7.0, "by the samples, whatever their slots"
    assert "unknown_examples" not in answer.json


def test_an_empty_body_is_called_empty_and_incomplete_metrics_incomplete(world: World) -> None:
    assert write(world).json["reason"] == "empty batch"
    cpu = {"__name__": "node_cpu_seconds_total", "instance": "web1:9100", "mode": "user", "cpu": "0"}
    assert "complete no metric yet" in write(world, (cpu, 1.0, NOW)).json["reason"]
    nameless = write(world, ({"__name__": "node_cpu_seconds_total", "mode": "user"}, 1.0, NOW))
    assert nameless.json["reason"] == "1 series came and none was taken; 1 left out (no_server_name)"


def test_a_counter_that_comes_too_seldom_for_a_rate_is_told_with_the_limit(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    cpu = {"__name__": "node_cpu_seconds_total", "instance": "web1:9100", "mode": "user", "cpu": "0"}
    reasons = [write(world, (cpu, 0.1 * at, NOW - 3000 + at)).json["reason"] for at in (0, 660, 1320, 1980)]
    assert all("a rate needs a second sample within 10 minutes" in reason for reason in reasons[:2])
    words = "a counter of web1 has samples 660 s apart; a rate needs two that are at most 600 s apart"
    assert all(words in reason for reason in reasons[2:])
    assert counts(sources(world)[0]) == {"too_sparse": 2}
    assert sum("(too_sparse)" in record.getMessage() for record in caplog.records) == 1
    write(world, (cpu, 0.1 * 1980, NOW - 3000 + 1980))
    write(world, (cpu, 0.1 * 2640, NOW - 3000 + 2640), (cpu, 0.1 * 2700, NOW - 3000 + 2700))
    assert counts(sources(world)[0]) == {"too_sparse": 3}, "not for what comes again"


@pytest.mark.parametrize("name", ["/", "-", "--", "_"])
def test_a_server_needs_a_letter_or_a_digit_in_its_name(world: World, name: str) -> None:
    series = [(labels | {"instance": name}, 25.0, NOW) for labels in (FREE, TOTAL)]
    answer = write(world, *series)
    assert answer.status_code == 400
    assert answer.json["rejected"][0]["reason"] == f"is '{name}'; must have a letter or a digit"
    assert counts(sources(world)[0]) == {"bad_name": 1}


def record(**fields: Any) -> dict[str, Any]:
    return {"timestamp": NOW - 60, "server_name": "web1", "cpu_user_pct": 50.0} | fields


@pytest.mark.parametrize("quick", [True, False])
def test_every_reason_of_a_record_is_counted(world: World, quick: bool) -> None:
    bad = {
        Drop.TOO_OLD: record(timestamp=NOW - 86_400),
        Drop.TOO_NEW: record(timestamp=NOW + 86_400),
        Drop.OUT_OF_RANGE: record(cpu_user_pct=500.0),
        Drop.NOT_A_NUMBER: record(cpu_user_pct="much"),
        Drop.BAD_NAME: record(server_name="*"),
        Drop.NO_SERVER_NAME: record(server_name=None),
        Drop.NOTHING_MEASURED: {"timestamp": NOW - 90, "server_name": "web1"},
        Drop.INVALID: record(timestamp="yesterday"),
        Drop.CLIPPED: record(cpu_user_pct=104.0),
    }
    headers = {} if quick else {"X-Something": "special"}
    answer = world.client.post("/feed/data", json={"records": [record(), *bad.values()]}, headers=headers)
    assert answer.status_code == 200
    (source,) = sources(world)
    assert counts(source) == {reason.value: 1 for reason in bad}
    assert (source.format, source.key, source.unit, source.received, source.taken) == ("json", "boss", "records", 10, 2)
    assert source.late_seconds == 60.0
    examples = {dropped.reason: dropped.example for dropped in source.dropped}
    assert examples[Drop.OUT_OF_RANGE].startswith("cpu_user_pct is 500; must be")
    assert examples[Drop.CLIPPED] == "a percentage of web1 is a little above 100"


def test_a_clipped_value_of_a_collector_has_an_example(world: World) -> None:
    write(world, (FREE, 100.5, NOW), (TOTAL, 100.0, NOW))
    (dropped,) = sources(world)[0].dropped
    assert (dropped.reason, dropped.count, dropped.example) == (Drop.CLIPPED, 1, "mem_used_pct of web1 would be -0.5")


def test_servers_without_room_and_whole_bodies_are_counted(world: World) -> None:
    for number in range(4):
        world.client.post("/feed/data", json={"records": [record(server_name=f"web{number}")]})
    world.client.post("/feed/data", data=b"no json")
    assert counts(sources(world)[0]) == {"no_room": 1, "unreadable": 1}


def test_what_has_to_be_sent_again_is_postponed_and_not_dropped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.services.ingest.worker.stop()
    for _ in range(3):
        assert world.client.post("/feed/data", json={"records": [record()]}).status_code == 503
    (source,) = sources(world)
    assert (source.postponed, source.batches, source.received, source.dropped) == (3, 0, 0, [])
    (line,) = [one.getMessage() for one in caplog.records if "503" in one.getMessage()]
    assert "json at 127.0.0.1" in line
    assert "1 batch answered with 503, to be sent again: " in line


def test_what_collectd_sends_while_it_cannot_be_kept_is_lost(world: World, caplog: pytest.LogCaptureFixture) -> None:
    values = {"plugin": "memory", "type": "percent", "plugin_instance": "", "host": "web1", "time": NOW, "interval": 10}
    body = [
        values | {"type_instance": kind, "values": [50.0], "dstypes": ["gauge"], "dsnames": ["value"]}
        for kind in ("free", "used")
    ]
    world.services.ingest.worker.stop()
    assert world.client.post("/feed/collectd", json=body).status_code == 503
    (source,) = sources(world)
    assert (source.postponed, counts(source)) == (0, {"not_repeated": 1})
    assert any("1 batch (not_repeated)" in one.getMessage() for one in caplog.records)


def test_each_format_and_key_is_a_source_of_its_own_and_a_read_key_sees_them(world: World) -> None:
    write(world, (FREE, 1.0, NOW))
    world.client.post("/feed/data", json={"records": [record()]})
    world.stranger.post("/feed/data", json={"records": [record()]}, headers={"X-API-Key": FEED_KEY})
    assert world.stranger.post("/feed/data", json={"records": [record()]}).status_code == 401
    found = world.stranger.get("/feed/sources", headers={"X-API-Key": READ_KEY})
    described = read_answer(found, Sources)
    assert [(source.format, source.key) for source in described.sources] == [
        (FeedFormat.JSON, "feeder"),
        (FeedFormat.JSON, "boss"),
        (FeedFormat.PROMETHEUS, "boss"),
    ]
    assert world.stranger.get("/feed/sources", headers={"X-API-Key": FEED_KEY}).status_code == 403


def test_the_page_of_the_api_explains_every_reason() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "api.md").read_text(encoding="utf-8").partition("### GET /feed/sources")[2].partition("\n## ")[0]
    assert [reason.value for reason in Drop if f"`{reason.value}`" not in page] == []


def test_one_host_under_two_values_of_a_label_is_told_once_and_counted(
    build_world: BuildWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = build_world(metrics=("load_average",))
    load = {"__name__": "node_load1", "instance": "web1:9100", "job": "node"}
    for at in range(-1800, 0, 60):
        for late, dc in ((0, "a"), (7, "b")):
            answer = write(world, (load | {"dc_replica": dc}, 0.5, NOW + at + late))
            assert "values_left_out" not in answer.json, "both are taken: it is not known which is one too many"
    (source,) = sources(world)
    assert counts(source).keys() == {"doubled"}
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert line == (
        "prometheus at 127.0.0.1 (Prometheus/2.42.0) (doubled): node_load1 of web1 comes with dc_replica 'a' and 'b': "
        "add it to feeders.replica_labels if it tells senders apart, to feeders.cluster_label if it tells hosts apart; "
        "one host under two values of a label, what is a sum is there twice"
    )
    count = f'nordiq_watch_feed_dropped_total{{format="prometheus",reason="doubled"}} {counts(source)["doubled"]:.1f}'
    assert count in world.client.get("/metrics").text


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("/feed/data?debug=1", "json"),
        ("/feed/prometheus?extra_label=dc=a", "prometheus"),
        ("/feed/telegraf?db=a", "telegraf"),
        ("/feed/collectd?x=", "collectd"),
        ("/v1/metrics?x=1", "otlp"),
        ("/write?tenant=a", "influx"),
        ("/api/v2/write?precision=minute", "influx"),
    ],
)
def test_what_is_refused_for_its_url_is_counted_as_most_senders_drop_it(
    world: World, url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert world.client.post(url, data=b"x").status_code == 400
    (source,) = sources(world)
    assert (source.format, source.received, counts(source)) == (kind, 0, {"unreadable": 1})
    assert [record.getMessage().partition(" at ")[0] for record in caplog.records] == [f"dropped from {kind}"]


def test_a_wrong_key_and_a_wrong_url_of_another_route_are_no_source(world: World) -> None:
    world.stranger.post("/feed/prometheus?x=1", data=b"x")
    world.client.get("/servers?x=1")
    assert sources(world) == []
