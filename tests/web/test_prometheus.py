from __future__ import annotations

import re
from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from support.batches import Sample, make_batch
from support.fleet_state import ENVIRONMENT, SUMMARY
from support.optional import not_none
from support.web_world import NOW, VERSION, World, judge_memory

import nordiq_watch
from nordiq_watch import __version__
from nordiq_watch.api.enums import Check, ReloadOutcome, ReloadState, ReloadTrigger, VersionState
from nordiq_watch.events import (
    AlertDeliveryFailed,
    AlertsDelivered,
    FleetJudged,
    FleetUnknown,
    ForecastPublished,
    ModelRejectedEvent,
    ModelWentLive,
    ReloadFinished,
)
from nordiq_watch.records.models import Version
from nordiq_watch.records.reloads import ReloadRecord, Stage
from nordiq_watch.reload.version_status import VersionStatus

Scrape = Callable[[], dict[tuple[str, frozenset[tuple[str, str]]], float]]


class Value(Protocol):
    """Reads one value of a fresh scrape."""

    def __call__(self, name: str, /, **labels: str) -> float | None: ...


@pytest.fixture
def scrape(world: World) -> Scrape:
    """Reads /metrics as Prometheus does: (name, labels) → value."""

    def read() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        answer = world.stranger.get("/metrics")
        assert answer.status_code == 200
        assert answer.content_type.startswith("text/plain; version=")
        families = text_string_to_metric_families(answer.text)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    return read


@pytest.fixture
def value(scrape: Scrape) -> Value:
    """One value of a fresh scrape; None if it is not there."""

    def read(name: str, /, **labels: str) -> float | None:
        return scrape().get((f"nordiq_watch_{name}", frozenset(labels.items())))

    return read


def test_a_daemon_without_a_model(value: Value) -> None:
    assert value("build_info", version=__version__) == 1
    assert value("start_time_seconds") == NOW - 90
    assert value("model_loaded") == 0
    assert value("model_pinned") == 0
    assert value("model_generation") == 0
    assert value("window_samples") == 0
    assert value("servers_tracked") == 0
    assert value("servers_ready") == 0
    assert value("last_forecast_timestamp_seconds") is None
    assert value("forecast_failures_total") == 0


def test_the_model_that_answers(world: World, value: Value) -> None:
    world.put_live(generation=3)
    world.reloads.pinned = VERSION
    assert value("model_info", version=VERSION, sha256="ab" * 32) == 1
    assert value("model_loaded") == 1
    assert value("model_pinned") == 1
    assert value("model_generation") == 3


def test_only_the_live_version_is_named(world: World, scrape: Scrape) -> None:
    world.put_live("tft_model_20250129_000000", generation=1)
    world.put_live(VERSION, generation=2)
    named = [dict(labels)["version"] for name, labels in scrape() if name == "nordiq_watch_model_info"]
    assert named == [VERSION]


def went_live(*, generation: int, seconds: float) -> ModelWentLive:
    stages = (Stage("seen", 0.0), Stage("verified", seconds))
    return ModelWentLive(VERSION, generation, "ab", ReloadTrigger.WATCHER, None, reload_id=generation, stages=stages)


def finished(trigger: str, outcome: str) -> ReloadFinished:
    return ReloadFinished(
        ReloadRecord(
            1, ReloadTrigger(trigger), None, ReloadState.FINISHED, created_at=NOW, outcome=ReloadOutcome(outcome)
        )
    )


def test_reloads_are_counted_by_trigger_and_outcome(world: World, value: Value) -> None:
    events = world.services.events
    for trigger, outcome in (("watcher", "loaded"), ("watcher", "loaded"), ("api", "rejected"), ("api", "unchanged")):
        events.publish(finished(trigger, outcome))
    assert value("reloads_total", trigger="watcher", outcome="loaded") == 2
    assert value("reloads_total", trigger="api", outcome="rejected") == 1
    assert value("reloads_total", trigger="api", outcome="unchanged") == 1


def test_reloads_that_went_live_are_timed(world: World, value: Value) -> None:
    world.services.events.publish(went_live(generation=1, seconds=0.7))
    world.services.events.publish(went_live(generation=2, seconds=0.9))
    assert value("reload_duration_seconds_count") == 2
    assert value("reload_duration_seconds_sum") == pytest.approx(1.6)


def test_every_check_is_made_somewhere_and_is_there_before_a_version_fails_it(value: Value) -> None:
    package = Path(nordiq_watch.__file__).parent
    made = re.findall(r"check=Check\.([A-Z0-9]+)", "".join(file.read_text() for file in package.rglob("*.py")))
    assert {Check[name] for name in made} == set(Check)
    assert {check: value("model_rejections_total", check=check) for check in Check} == dict.fromkeys(Check, 0)


def test_stages_and_checks_are_counted(world: World, value: Value) -> None:
    events = world.services.events
    events.publish(went_live(generation=1, seconds=0.7))
    events.publish(ModelRejectedEvent(VERSION, ReloadTrigger.API, Check.CANARY, "p50 is NaN", None, reload_id=3))
    assert value("reload_stage_duration_seconds_sum", stage="verified") == 0.7
    assert value("model_rejections_total", check="canary") == 1


@pytest.mark.parametrize(
    ("state", "seconds"), [("available", 60), ("incomplete", 60), ("rejected", 60), ("live", 0), ("quarantined", 0)]
)
def test_how_long_the_newest_version_has_been_waiting(world: World, value: Value, state: str, seconds: int) -> None:
    assert value("newest_version_waiting_seconds") == 0
    version = Version(VERSION, world.models_dir / VERSION, "20250130_143000", "print", 1, NOW - 60)
    world.reloads.versions = (VersionStatus(version, VersionState(state)),)
    assert value("newest_version_waiting_seconds") == seconds


def test_what_waits(world: World, value: Value) -> None:
    assert value("reload_jobs_waiting") == 0
    world.client.post("/admin/rollback?wait=false")
    assert value("reload_jobs_waiting") == 1
    assert value("feed_batches_waiting") == 0


def test_forecasts_that_took_longer_than_an_interval_are_told(world: World, value: Value) -> None:
    assert value("forecast_overruns_total") == 0
    world.services.forecast.forecaster.overruns = 3
    assert value("forecast_overruns_total") == 3


def test_what_was_fed_is_counted(world: World, value: Value) -> None:
    def record(**fields: Any) -> dict[str, Any]:
        return {"timestamp": NOW, "server_name": "ppdb001", "cpu_user_pct": 1, **fields}

    world.client.post("/feed/data", json={"records": [record(cpu_user_pct=101), record(cpu_user_pct=-1)]})
    world.client.post("/feed/data", json={"records": [record(cpu_user_pct=-1)]})
    assert value("feed_batches_total") == 1
    assert value("feed_records_total") == 1
    assert value("feed_records_rejected_total") == 2
    assert value("feed_values_clipped_total") == 1
    assert value("window_samples") == 1
    assert value("window_fill_ratio") == 1 / world.services.config.window.length
    assert value("servers_tracked") == 1


def test_names_make_no_series(world: World) -> None:
    def shown() -> set[str]:
        return {line.partition(" ")[0] for line in world.client.get("/metrics").text.splitlines() if line[0] != "#"}

    def live(name: str) -> None:
        record = {"timestamp": NOW, "server_name": name, "cpu_user_pct": 1}
        world.client.post("/feed/data", json={"records": [record]})
        for path in (f"/predictions/{name}", f"/historical/server/{name}", f"/no/{name}", f"/explain/{name}"):
            world.client.get(path)
        world.client.delete(f"/servers/{name}")

    shown()
    live("first")
    shown()
    before = shown()
    for number in range(20):
        live(f"made-up-{number}")
    assert shown() == before


def test_forecasts_are_timed(world: World, value: Value) -> None:
    world.services.events.publish(ForecastPublished(VERSION, 1, 5, 0.25))
    world.put_live(forecast_at=NOW)
    assert value("forecast_duration_seconds_count") == 1
    assert value("forecast_duration_seconds_sum") == 0.25
    assert value("last_forecast_timestamp_seconds") == NOW


def test_requests_are_timed_by_route_and_status(world: World, value: Value) -> None:
    world.client.get("/predictions/ppdb001")
    world.client.get("/predictions/ppdb002")
    world.stranger.get("/predictions/ppdb002")
    route = "/predictions/<path:server>"
    assert value("http_request_duration_seconds_count", route=route, status="404") == 2
    assert value("http_request_duration_seconds_count", route=route, status="401") == 1


def test_paths_that_do_not_exist_share_one_label(world: World, scrape: Scrape) -> None:
    for number in range(20):
        world.client.get(f"/nothing/{number}")
        world.client.open(f"/status/{number}", method=f"X{number}")
    routes = {dict(labels).get("route") for name, labels in scrape() if name.startswith("nordiq_watch_http_request")}
    assert routes <= {"unmatched", "/metrics"}


def test_the_process_is_there(scrape: Scrape) -> None:
    assert scrape()["process_resident_memory_bytes", frozenset()] > 0


def test_alerts_and_risk(world: World, value: Value) -> None:
    assert value("alerts_active", level="critical", kind="silent") == 0
    judge_memory(world, 96, 91, 10)
    assert value("alerts_active", level="critical", kind="risk") == 1
    assert value("alerts_active", level="warning", kind="risk") == 1
    assert value("alert_changes_total", change="raised", level="critical") == 1
    assert value("risk_score_max") == 84
    assert value("incident_probability", horizon="30m") == 1


def test_alerts_that_were_sent_and_that_were_not(world: World, value: Value) -> None:
    world.services.events.publish(AlertsDelivered(3))
    world.services.events.publish(AlertDeliveryFailed("it is away", 0))
    world.services.events.publish(AlertDeliveryFailed("the queue is full", 2))
    assert value("webhook_alerts_total") == 3
    assert value("webhook_failures_total") == 1
    assert value("webhook_alerts_lost_total") == 2


def test_the_age_of_the_data(world: World, value: Value) -> None:
    assert value("newest_sample_timestamp_seconds") is None
    assert value("data_stale") == 0
    newest = int(NOW // 300) - 3
    world.services.ingest.window.apply(make_batch([Sample("ppdb001", newest)], world.services.ingest.window.metrics))
    assert value("newest_sample_timestamp_seconds") == newest * 300
    assert value("newest_sample_age_seconds") == NOW - newest * 300 >= 900
    assert value("data_stale") == 1


def test_what_is_not_known_of_the_fleet_is_not_a_number(world: World, value: Value) -> None:
    judge_memory(world, 96)
    world.services.events.publish(FleetUnknown())
    for name, labels in (("risk_score_max", {}), ("risk_score_mean", {}), ("incident_probability", {"horizon": "8h"})):
        assert isnan(not_none(value(name, **labels)))
    judge_memory(world, 96)
    assert value("risk_score_max") == 84
    assert value("incident_probability", horizon="8h") == 1
    not_forecast = replace(ENVIRONMENT, prob_30m=None, prob_8h=None)
    world.services.events.publish(FleetJudged(NOW, ("a",), np.array([12.0]), not_forecast, SUMMARY))
    assert isnan(not_none(value("incident_probability", horizon="8h")))
