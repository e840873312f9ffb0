from __future__ import annotations

from datetime import datetime

from support.batches import Sample, make_batch
from support.web_world import NOW, VERSION, World, make_answer

from nordiq_watch import __version__


def test_health_says_that_the_process_answers(world):
    answer = world.stranger.get("/health")
    assert answer.status_code == 200
    assert answer.json == {"status": "healthy", "service": "nordiq_watch", "running": True, "version": __version__}


def test_without_a_model_it_is_not_ready_and_says_why(world):
    answer = world.stranger.get("/ready")
    assert answer.status_code == 503
    assert answer.json["ready"] is False
    assert "No model is live yet" in answer.json["detail"]


def test_the_last_refusal_is_the_reason(world):
    world.desk.outcome = {"outcome": "rejected", "version": VERSION, "reason": "weights: truncated"}
    world.client.post("/admin/reload-model")
    answer = world.stranger.get("/ready")
    assert answer.json["detail"] == f"No model is live: {VERSION} was refused (weights: truncated)."


def test_with_a_model_it_is_ready_also_while_another_is_refused(world):
    world.put_live(generation=3)
    world.desk.outcome = {"outcome": "rejected", "version": "tft_model_2", "reason": "canary", "current": VERSION}
    world.client.post("/admin/reload-model")
    answer = world.stranger.get("/ready")
    assert (answer.status_code, answer.json) == (
        200,
        {"ready": True, "model_version": VERSION, "model_generation": 3},
    )


def test_status_of_a_fresh_daemon(world):
    body = world.stranger.get("/status").json
    warmup, parts = body.pop("warmup"), body.pop("parts")
    assert body == {
        "running": True,
        "model_loaded": False,
        "model_path": None,
        "model_generation": None,
        "tick_count": 0,
        "window_size": 0,
        "servers_tracked": 0,
        "servers_ready": 0,
        "uptime_seconds": 90.0,
        "last_prediction": None,
        "forecast_seconds": None,
        "forecast_overruns": 0,
        "storage": {"healthy": True, "troubles": []},
        "pinned": False,
        "stale": False,
        "newest_sample": None,
        "newest_sample_age_seconds": None,
    }
    assert set(warmup) == {
        "is_warmed_up",
        "progress_percent",
        "threshold",
        "current_size",
        "required_size",
        "message",
    }
    assert warmup["is_warmed_up"] is False
    assert [(part["name"], part["state"]) for part in parts] == [("journal", "ok"), ("archive", "ok")]


def test_a_store_that_fails_is_in_parts_and_in_storage(world):
    world.services.parts.of("history").fail("history.sqlite3: disk I/O error. Look at the disk.")
    body = world.stranger.get("/status").json
    trouble = {"reason": "history.sqlite3: disk I/O error. Look at the disk.", "since": "2025-01-30T14:06:40+00:00"}
    assert body["storage"] == {"healthy": False, "troubles": [{"part": "history", **trouble}]}
    (part,) = [part for part in body["parts"] if part["name"] == "history"]
    assert part == {"name": "history", "state": "failing", "effect": part["effect"], **trouble}
    assert "/historical answers 503" in part["effect"]
    assert 'nordiq_watch_part_healthy{part="history"} 0.0' in world.stranger.get("/metrics").text


def test_a_worker_that_fails_is_no_trouble_of_the_storage(world):
    world.services.parts.of("webhook").fail("internal: KeyError, the log has the rest")
    body = world.stranger.get("/status").json
    assert body["storage"] == {"healthy": True, "troubles": []}
    assert [part["name"] for part in body["parts"] if part["state"] == "failing"] == ["webhook"]


def test_status_of_a_daemon_at_work(world):
    world.put_live()
    records = [{"timestamp": NOW - age, "server_name": "ppdb001", "cpu_user_pct": 1} for age in (300, 0)]
    world.client.post("/feed/data", json={"records": records})
    world.services.forecaster.last_prediction = NOW
    answer = world.stranger.get("/status").json
    assert answer["model_loaded"] is True
    assert answer["model_path"] == f"models/{VERSION}"
    assert (answer["tick_count"], answer["window_size"], answer["servers_tracked"]) == (1, 2, 1)
    assert answer["last_prediction"] == "2025-01-30T14:06:40+00:00"
    assert answer["warmup"]["is_warmed_up"] is True
    assert answer["warmup"]["progress_percent"] == 100


def test_old_data_are_stale_whatever_made_the_answer(world: World) -> None:
    newest = int(NOW // 300) - 20
    world.services.window.apply(make_batch([Sample("ppdb001", newest)], world.services.window.metrics))
    world.services.board.publish(make_answer())
    answer = world.stranger.get("/status").json
    assert answer["newest_sample_age_seconds"] == NOW - newest * 300
    assert datetime.fromisoformat(answer["newest_sample"]).timestamp() == newest * 300
    assert answer["stale"] is True
