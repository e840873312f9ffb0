from __future__ import annotations

from datetime import datetime

from support.batches import Sample, make_batch
from support.web_world import NOW, VERSION, World, make_answer, read_answer

from nordiq_watch import __version__
from nordiq_watch.api.enums import PartState
from nordiq_watch.api.status import Health, NotReady, Part, Ready, Status, Storage, Trouble


def test_health_says_that_the_process_answers(world: World) -> None:
    answer = world.stranger.get("/health")
    assert answer.status_code == 200
    assert read_answer(answer, Health) == Health("healthy", "nordiq_watch", True, __version__)


def test_without_a_model_it_is_not_ready_and_says_why(world: World) -> None:
    answer = world.stranger.get("/ready")
    assert answer.status_code == 503
    assert "No model is live yet" in read_answer(answer, NotReady).detail


def test_the_last_refusal_is_the_reason(world: World) -> None:
    world.reloads.outcome = {"outcome": "rejected", "version": VERSION, "reason": "weights: truncated"}
    world.client.post("/admin/reload-model")
    answer = read_answer(world.stranger.get("/ready"), NotReady)
    assert answer.detail == f"No model is live: {VERSION} was refused (weights: truncated)."


def test_with_a_model_it_is_ready_also_while_another_is_refused(world: World) -> None:
    world.put_live(generation=3)
    world.reloads.outcome = {"outcome": "rejected", "version": "tft_model_2", "reason": "canary", "current": VERSION}
    world.client.post("/admin/reload-model")
    answer = world.stranger.get("/ready")
    assert (answer.status_code, read_answer(answer, Ready)) == (200, Ready(True, VERSION, 3))


def status_of(world: World) -> Status:
    return read_answer(world.stranger.get("/status"), Status)


def test_status_of_a_fresh_daemon(world: World) -> None:
    status = status_of(world)
    assert status == Status(
        running=True,
        model_loaded=False,
        model_path=None,
        model_generation=None,
        pinned=False,
        tick_count=0,
        window_size=0,
        servers_tracked=0,
        servers_ready=0,
        uptime_seconds=90.0,
        last_prediction=None,
        forecast_seconds=None,
        forecast_overruns=0,
        newest_sample=None,
        newest_sample_age_seconds=None,
        stale=False,
        warmup=status.warmup,
        storage=Storage(healthy=True, troubles=[]),
        parts=status.parts,
    )
    assert not status.warmup.is_warmed_up
    stores, workers = (
        ("journal", "archive", "history", "accuracy", "roster"),
        ("ingest", "forecaster", "quality", "history-writer"),
    )
    assert [(part.name, part.state) for part in status.parts] == [(name, "ok") for name in (*stores, *workers)]


def test_a_store_that_fails_is_in_parts_and_in_storage(world: World) -> None:
    reason, since = "history.sqlite3: disk I/O error. Look at the disk.", "2025-01-30T14:06:40+00:00"
    world.services.parts.of("history").fail(reason)
    status = status_of(world)
    assert status.storage == Storage(healthy=False, troubles=[Trouble("history", reason, since)])
    (part,) = [part for part in status.parts if part.name == "history"]
    assert part == Part("history", PartState.FAILING, reason, since, effect=part.effect)
    assert "/historical answers 503" in part.effect
    assert 'nordiq_watch_part_healthy{part="history"} 0.0' in world.stranger.get("/metrics").text


def test_a_worker_that_fails_is_no_trouble_of_the_storage(world: World) -> None:
    world.services.parts.of("webhook").fail("internal: KeyError, the log has the rest")
    status = status_of(world)
    assert status.storage == Storage(healthy=True, troubles=[])
    assert [part.name for part in status.parts if part.state is PartState.FAILING] == ["webhook"]


def test_status_of_a_daemon_at_work(world: World) -> None:
    world.put_live(forecast_at=NOW)
    records = [{"timestamp": NOW - age, "server_name": "ppdb001", "cpu_user_pct": 1} for age in (300, 0)]
    world.client.post("/feed/data", json={"records": records})
    status = status_of(world)
    assert (status.model_loaded, status.model_path) == (True, f"models/{VERSION}")
    assert (status.tick_count, status.window_size, status.servers_tracked) == (1, 2, 1)
    assert status.last_prediction == "2025-01-30T14:06:40+00:00"
    assert (status.warmup.is_warmed_up, status.warmup.progress_percent) == (True, 100)


def test_old_data_are_stale_whatever_made_the_answer(world: World) -> None:
    newest = int(NOW // 300) - 20
    world.services.ingest.window.apply(make_batch([Sample("ppdb001", newest)], world.services.ingest.window.metrics))
    world.show(make_answer())
    status = status_of(world)
    assert (status.newest_sample_age_seconds, status.stale) == (NOW - newest * 300, True)
    assert status.newest_sample is not None
    assert datetime.fromisoformat(status.newest_sample).timestamp() == newest * 300
