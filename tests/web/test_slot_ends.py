"""The slots of collectors end by themselves, in the window too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.web_world import NOW, BuildWorld, World

from nordiq_watch.config.schema import FeederSettings, PrometheusSettings, SeriesRule, WindowSettings
from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.ingest import Ingest
from nordiq_watch.web.app import create_app
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.slot_ends import say_slot_ends

T = (NOW // 300 - 2) * 300
LATENESS = 900


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(build_world: BuildWorld, clock: Clock) -> World:
    rules: dict[str, SeriesRule | None] = {"load_average": SeriesRule(value="load")}
    made = build_world(
        metrics=("load_average",),
        window=WindowSettings(length=288, lateness_seconds=LATENESS),
        feeders=FeederSettings(prometheus=PrometheusSettings(metrics=rules)),
    )
    services = replace(made.services, clock=clock, registry=CollectorRegistry())
    return World(services, create_app(services), made.reloads, made.models_dir)


def send(world: World, part: str, *samples: tuple[float, float]) -> None:
    labels = {"__name__": "load", "instance": "web1:9100", "part": part}
    body = pack(write_v1([Sent(labels, [(T + at, value) for at, value in samples])]))
    answer = world.client.post("/feed/prometheus", data=body, headers=V1_HEADERS)
    assert answer.status_code == 200


def value_at(world: World, at: float) -> float | None:
    history = world.services.ingest.window.history("web1")
    assert history is not None
    newest, _, values = history
    place = len(values) - 1 - (newest - int((T + at) // 300))
    found = float(values[place, 0]) if place < len(values) else float("nan")
    return None if found != found else found


@pytest.fixture
def waiting(world: World, clock: Clock) -> World:
    """Of two series that last, one has stopped, so that the newest slot waits for it."""
    for part in "ab":
        send(world, part, (0, 1.0), (200, 1.0))
    send(world, "a", (310, 1.0))
    assert value_at(world, 300) is None
    return world


def test_a_sum_that_waits_is_written_when_the_slot_ends_though_its_sender_is_silent(
    waiting: World, clock: Clock
) -> None:
    clock.now = NOW + LATENESS - 1
    say_slot_ends(waiting.client.application)
    assert value_at(waiting, 300) is None
    clock.now = NOW + LATENESS + 1
    say_slot_ends(waiting.client.application)
    assert value_at(waiting, 300) == 1.0


def test_what_the_disk_does_not_take_is_written_later(
    waiting: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Ingest, *_: object, **__: object) -> None:
        raise StorageError("No space left on device")

    clock.now = NOW + LATENESS + 1
    with monkeypatch.context() as patch:
        patch.setattr(Ingest, "submit", full)
        say_slot_ends(waiting.client.application)
    assert value_at(waiting, 300) is None
    clock.now += 6
    say_slot_ends(waiting.client.application)
    assert value_at(waiting, 300) == 1.0


def test_the_first_deltas_of_a_sender_are_counted_when_their_slot_ends(build_world: BuildWorld, clock: Clock) -> None:
    made = build_world(metrics=("net_in_mb_s",), window=WindowSettings(length=288, lateness_seconds=LATENESS))
    services = replace(made.services, clock=clock, registry=CollectorRegistry())
    world = World(services, create_app(services), made.reloads, made.models_dir)
    sent = ExportMetricsServiceRequest()
    resource = sent.resource_metrics.add()
    resource.resource.attributes.add(key="host.name").value.string_value = "web1"
    traffic = resource.scope_metrics.add().metrics.add(name="system.network.io").sum
    traffic.aggregation_temporality, traffic.is_monotonic = 1, True  # type: ignore[assignment]
    for start, growth in ((0, 1e12), (60, 6e7), (120, 6e7)):
        begin = (T + start) * 10**9
        point = traffic.data_points.add(
            start_time_unix_nano=int(begin), time_unix_nano=int(begin + 60e9), as_double=growth
        )
        for key, text in (("network.io.direction", "receive"), ("network.interface.name", "eth0")):
            point.attributes.add(key=key).value.string_value = text
    answer = world.client.post("/v1/metrics", data=sent.SerializeToString(), content_type="application/x-protobuf")
    assert (answer.status_code, answer.data) == (200, b""), "which is no fault of the sender"
    assert value_at(world, 0) == 1.0
    clock.now = NOW + LATENESS + 1
    say_slot_ends(world.client.application)
    dropped = [
        (one.reason, one.count) for source in services.ingest.sources.describe().sources for one in source.dropped
    ]
    assert dropped == [("first", 1)]


def test_a_name_that_no_server_can_have_is_not_told_again_after_a_restart(world: World, tmp_path: Path) -> None:
    app = world.client.application
    translators(app).restore(tmp_path)
    body = pack(write_v1([Sent({"__name__": "load", "instance": "*"}, [(T + 10, 1.0)])]))
    assert world.client.post("/feed/prometheus", data=body, headers=V1_HEADERS).status_code == 400
    again = create_app(replace(world.services, registry=CollectorRegistry()))
    translators(again).restore(tmp_path)
    say_slot_ends(again)
    sources = world.services.ingest.sources.describe().sources
    assert [(one.address, [(lost.reason, lost.count) for lost in one.dropped]) for one in sources] == [
        ("127.0.0.1", [("bad_name", 1)])
    ]
