from __future__ import annotations

import json
import logging
import threading
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.web_world import KEY, NOW, VERSION

from nordiq_watch.config import Server
from nordiq_watch.records import Version, VersionStatus
from nordiq_watch.reload.jobs import LoadLatest, LoadVersion, RollBack, Unpin
from nordiq_watch.spec import TrainingInfo
from nordiq_watch.web import admin

OLD = "tft_model_20250129_120000"
LOADED: dict[str, Any] = {"outcome": "loaded", "version": VERSION, "previous": OLD, "current": VERSION}
WAIT_SECONDS = 20


# --- reload ---


def test_without_a_name_the_latest_is_loaded(world):
    world.desk.outcome = LOADED
    answer = world.client.post("/admin/reload-model")
    assert world.desk.jobs == [LoadLatest()]
    assert answer.status_code == 200
    assert answer.json == {
        "success": True,
        "message": "Model reloaded successfully",
        "previous_model": f"models/{OLD}",
        "new_model": f"models/{VERSION}",
        "model_timestamp": "20250130_143000",
        "id": 1,
    }


@pytest.mark.parametrize("written", [VERSION, f"models/{VERSION}", f"models/{VERSION}/"])
@pytest.mark.parametrize("in_body", [False, True])
def test_a_version_may_be_named_in_the_query_or_in_the_body(world, written, in_body):
    world.desk.outcome = LOADED
    if in_body:
        answer = world.client.post("/admin/reload-model", json={"model_path": written})
    else:
        answer = world.client.post("/admin/reload-model", query_string={"model_path": written})
    assert answer.status_code == 200
    assert world.desk.jobs == [LoadVersion(VERSION)]


@pytest.mark.parametrize("body", ["", "  \n", "{}", '{"model_path": null}'])
def test_a_body_that_names_nothing_means_the_latest(world, body):
    world.desk.outcome = LOADED
    assert world.client.post("/admin/reload-model", data=body).status_code == 200
    assert world.desk.jobs == [LoadLatest()]


def test_query_and_body_may_agree_but_not_differ(world):
    world.desk.outcome = LOADED
    place = f"/admin/reload-model?model_path={VERSION}"
    assert world.client.post(place, json={"model_path": VERSION}).status_code == 200
    answer = world.client.post(place, json={"model_path": OLD})
    assert (answer.status_code, answer.json["success"]) == (400, False)
    assert "differ" in answer.json["detail"]


@pytest.mark.parametrize("body", ["no json", "[]", '"x"', '{"model_path": 3}', '{"modelpath": "x"}', b"\xff\xfe{}"])
def test_a_body_that_is_something_else_is_refused(world, body):
    answer = world.client.post("/admin/reload-model", data=body)
    assert answer.status_code == 400
    assert answer.json["success"] is False
    assert "model_path" in answer.json["detail"]
    assert world.desk.jobs == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("unchanged", 200), ("rejected", 422), ("not_found", 404)],
)
def test_the_outcome_decides_the_status(world, outcome, status):
    world.desk.outcome = {"outcome": outcome, "current": OLD, "reason": "because"}
    answer = world.client.post("/admin/reload-model")
    assert answer.status_code == status
    assert answer.json["success"] == (status == 200)


# --- what is no version's name ---

OUTSIDE = [
    "..",
    ".",
    "",
    "/",
    "../models",
    f"../{VERSION}",
    f"models/../{VERSION}",
    f"models/../../etc/{VERSION}",
    f"./{VERSION}",
    f"models//{VERSION}",
    f"/models/{VERSION}",
    f"/etc/passwd/{VERSION}",
    "/etc/passwd",
    "C:\\models",
    f"models\\{VERSION}",
    f"..\\{VERSION}",
    f"{VERSION}\x00",
    f"\x00/{VERSION}",
    f"{VERSION}\n",
    f"%2e%2e/{VERSION}",
    f"%2e%2e%2f{VERSION}",
    f"..%2f{VERSION}",
    f"..%c0%af{VERSION}",
    f"%252e%252e%252f{VERSION}",
    f"．．/{VERSION}",  # full-width dots
    f"models/{VERSION}/model.safetensors",
    f"file:///{VERSION}",
    f"http://example.org/{VERSION}",
    "~root",
    "another_directory",
    f".{VERSION}",
    f"{VERSION}.tmp",
    f"{VERSION}.partial",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", OUTSIDE)
def test_whatever_is_or_points_outside_is_refused_and_never_queued(world, text):
    for answer in (
        world.client.post("/admin/reload-model", query_string={"model_path": text}),
        world.client.post("/admin/reload-model", json={"model_path": text}),
    ):
        assert answer.status_code == 400
        assert answer.json["success"] is False
        assert answer.json["detail"]
        assert len(answer.text) < 1000
        assert str(world.models_dir.parent) not in answer.text
    assert world.desk.jobs == []


@pytest.mark.parametrize("text", OUTSIDE)
def test_encoding_it_once_more_does_not_help(world, text):
    twice = quote(quote(text, safe=""), safe="")
    answer = world.client.post(f"/admin/reload-model?model_path={twice}")
    assert answer.status_code == 400
    assert world.desk.jobs == []


def test_a_symlink_in_the_models_directory_is_refused(world, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (world.models_dir / VERSION).symlink_to(tmp_path / "elsewhere")
    answer = world.client.post(f"/admin/reload-model?model_path={VERSION}")
    assert answer.status_code == 400
    assert "symbolic link" in answer.json["detail"]
    assert world.desk.jobs == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.from_regex(r"(models/|\.\./|/|%2e|\\|\x00)*(tft_model_[0-9_]*)?[./%\\]*"))
def test_no_text_gets_past_the_names(world, text):
    world.desk.jobs.clear()
    world.desk.outcome = LOADED
    answer = world.client.post("/admin/reload-model", json={"model_path": text})
    if answer.status_code == 200:
        (job,) = world.desk.jobs
        assert isinstance(job, LoadVersion)
        assert job.name.startswith("tft_model_")
        assert (world.models_dir / job.name).resolve().parent == world.models_dir.resolve()
    else:
        assert answer.status_code == 400
        assert world.desk.jobs == []


# --- waiting ---


@pytest.mark.parametrize("wait", ["false", "False", "0"])
@pytest.mark.parametrize("path", ["/admin/reload-model", "/admin/rollback", "/admin/unpin"])
def test_who_does_not_wait_gets_an_id(world, path, wait):
    answer = world.client.post(f"{path}?wait={wait}")
    assert answer.status_code == 202
    assert (answer.json["success"], answer.json["id"], answer.json["state"]) == (True, 1, "waiting")
    assert answer.headers["Location"].endswith("/admin/reloads/1")


def test_who_does_not_wait_gets_an_id_even_if_it_is_over(world):
    world.desk.outcome = LOADED
    answer = world.client.post("/admin/reload-model?wait=false")
    assert (answer.status_code, answer.json["state"]) == (202, "finished")


def test_a_wait_that_is_no_switch_is_refused_before_anything_begins(world):
    answer = world.client.post("/admin/reload-model?wait=soon")
    assert (answer.status_code, answer.json["success"]) == (400, False)
    assert answer.json["detail"] == "wait is 'soon'; must be true or false"
    assert world.desk.jobs == []


def test_a_reload_that_takes_too_long_goes_on_under_its_id(world, monkeypatch):
    monkeypatch.setattr(admin, "LONGEST_WAIT_SECONDS", 0.01)
    answer = world.client.post("/admin/reload-model")
    assert (answer.status_code, answer.json["id"]) == (202, 1)


def on_wait(world, do):
    """Calls `do(ticket)` whenever a request begins to wait for a reload."""
    submit = world.desk.submit

    def submit_watched(job):
        ticket = submit(job)
        wait = ticket.wait

        def wait_watched(timeout):
            if timeout:
                do(ticket)
            return wait(timeout)

        ticket.wait = wait_watched
        return ticket

    world.desk.submit = submit_watched


def test_a_waiting_request_is_answered_when_the_reload_ends_and_others_do_not_take_all_threads(build_world):
    world = build_world(server=Server(threads=2))  # one seat to wait in
    waiting = threading.Event()
    on_wait(world, lambda ticket: waiting.set())
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(world.client.post("/admin/reload-model")))
    waiter.start()
    assert waiting.wait(WAIT_SECONDS)
    waiting.clear()
    second = world.app.test_client().post("/admin/rollback", headers={"X-API-Key": KEY})
    assert (second.status_code, second.json["id"]) == (202, 2)
    assert not waiting.is_set()
    world.desk.finish(world.desk.tickets[0], **LOADED)
    waiter.join(WAIT_SECONDS)
    assert [answer.status_code for answer in answers] == [200]


def test_the_seat_is_free_again_after_the_wait(build_world):
    world = build_world(server=Server(threads=1))
    on_wait(world, lambda ticket: world.desk.finish(ticket, **LOADED))
    for _ in range(3):
        assert world.client.post("/admin/reload-model").status_code == 200


# --- rollback, unpin ---


def test_rollback_answers_like_reload(world):
    world.desk.outcome = {"outcome": "loaded", "version": OLD, "previous": VERSION, "current": OLD}
    answer = world.client.post("/admin/rollback")
    assert world.desk.jobs == [RollBack()]
    assert (answer.status_code, answer.json["new_model"]) == (200, f"models/{OLD}")


def test_rollback_without_a_version_to_go_back_to_says_so(world):
    world.desk.outcome = {"outcome": "not_found", "reason": "there is no version to go back to", "current": VERSION}
    answer = world.client.post("/admin/rollback")
    assert answer.status_code == 404
    assert answer.json["success"] is False
    assert answer.json["detail"] == "there is no version to go back to"
    assert answer.json["current_model"] == f"models/{VERSION}"


def test_unpin_lets_the_watcher_choose(world):
    world.desk.outcome = {"outcome": "unpinned", "current": VERSION}
    answer = world.client.post("/admin/unpin")
    assert world.desk.jobs == [Unpin()]
    assert (answer.status_code, answer.json["success"]) == (200, True)


def test_orders_are_logged_with_who_gave_them(world, caplog):
    caplog.set_level(logging.INFO, "nordiq_watch")
    world.desk.outcome = LOADED
    world.client.post(f"/admin/reload-model?model_path={VERSION}")
    assert f"LoadVersion(name='{VERSION}', trigger='api') from 127.0.0.1: reload 1" in caplog.text


# --- the list of reloads ---


def test_reloads_are_listed_newest_first(world):
    world.desk.outcome = {"outcome": "rejected", "reason": "layout: cut off", "current": OLD}
    for _ in range(3):
        world.client.post("/admin/reload-model")
    answer = world.client.get("/admin/reloads").json
    assert [entry["id"] for entry in answer["reloads"]] == [3, 2, 1]
    assert answer["count"] == 3
    assert answer["reloads"][0]["reason"] == "layout: cut off"
    assert [entry["id"] for entry in world.client.get("/admin/reloads?limit=1").json["reloads"]] == [3]


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "1.5", "", "٣", "9" * 5000, "000000001" + "0" * 5000])
def test_an_impossible_limit_is_refused(world, limit):
    answer = world.client.get("/admin/reloads", query_string={"limit": limit})
    assert answer.status_code == 400
    assert "from 1 to 1000" in answer.json["detail"]


def test_one_reload_can_be_followed_by_its_id(world):
    world.client.post("/admin/reload-model?wait=false")
    assert world.client.get("/admin/reloads/1").json["state"] == "waiting"
    world.desk.finish(world.desk.tickets[0], **LOADED)
    described = world.client.get("/admin/reloads/1").json
    assert (described["state"], described["outcome"], described["seconds"]) == ("finished", "loaded", 1.5)


@pytest.mark.parametrize("reload_id", ["2", "999999999999999999999", "1" * 5000, "-1", "1.0", "one", "١"])
def test_an_unknown_reload_is_404(world, reload_id):
    answer = world.client.get(f"/admin/reloads/{reload_id}")
    assert (answer.status_code, answer.json["error"]) == (404, "Not found")


# --- models and the model ---


def status_of(name: str, state: str, world, **fields: Any) -> VersionStatus:
    stamp = name.removeprefix("tft_model_")
    version = Version(name, world.models_dir / name, stamp, "print", 245_300_000, NOW)
    return VersionStatus(version, state, **fields)


def test_models_are_listed_with_what_is_thought_of_them(world):
    world.put_live(generation=4)
    world.desk.pinned = VERSION
    info = TrainingInfo(epochs=20, training_time=7200.0, servers_trained=50, validation={"mae": 1.5})
    world.desk.versions = (
        status_of("tft_model_20250131_000000", "rejected", world, reason="weights: truncated"),
        status_of(VERSION, "live", world, sha256="ab" * 32, generation=4, training=info),
    )
    answer = world.client.get("/admin/models").json
    assert (answer["count"], answer["models_dir"], answer["current_model"]) == (2, "models", f"models/{VERSION}")
    assert answer["pinned_model"] == f"models/{VERSION}"
    refused, live = answer["models"]
    assert live == {
        "path": f"models/{VERSION}",
        "name": VERSION,
        "timestamp": "20250130_143000",
        "is_current": True,
        "state": "live",
        "size_mb": 245.3,
        "modified": "2025-01-30T14:06:40",
        "sha256": "ab" * 32,
        "training": {"epochs": 20, "training_time": 7200.0, "servers_trained": 50, "validation": {"mae": 1.5}},
        "accuracy": None,
        "generation": 4,
    }
    assert (refused["is_current"], refused["state"], refused["reason"]) == (False, "rejected", "weights: truncated")
    assert refused["training"] == {"epochs": None, "training_time": None, "servers_trained": None, "validation": None}


def test_an_empty_models_directory_is_an_empty_list(world):
    answer = world.client.get("/admin/models")
    assert answer.status_code == 200
    assert answer.json == {
        "models": [],
        "count": 0,
        "models_dir": "models",
        "current_model": None,
        "pinned_model": None,
    }


def test_model_info_without_a_model(world):
    answer = world.client.get("/admin/model-info").json
    assert answer == {"loaded": False, "mode": "none", "pinned": False, "pinned_model": None}


def test_a_pin_whose_version_is_gone_is_told(world):
    world.put_live()
    world.desk.pinned = "tft_model_20250129_000000"
    world.desk.versions = (status_of(VERSION, "live", world),)
    for route in ("/admin/models", "/admin/model-info"):
        answer = world.client.get(route).json
        assert (answer["pinned_model"], answer["pinned_missing"]) == ("models/tft_model_20250129_000000", True)
        assert f"{VERSION} is live, and newer drops wait" in answer["pinned_note"]
    world.desk.pinned = VERSION
    assert world.client.get("/admin/model-info").json["pinned_missing"] is False


def test_model_info_tells_known_servers_from_unknown_ones(world):
    world.put_live(generation=2, known=frozenset({"ppdb001", "ppdb002", "ppdb777"}))
    world.desk.pinned = VERSION
    names = ("ppdb001", "ppdb002", "ppnew01")
    records = [{"timestamp": NOW, "server_name": name, "cpu_user_pct": 1} for name in names]
    world.client.post("/feed/data", json={"records": records})
    answer = world.client.get("/admin/model-info").json
    assert answer["servers"] == {"total": 3, "known": 2, "trained": 3}
    expected = {
        "loaded": True,
        "mode": "tft",
        "model_path": f"models/{VERSION}",
        "model_name": VERSION,
        "model_timestamp": "20250130_143000",
        "generation": 2,
        "sha256": "ab" * 32,
        "pinned": True,
        "pinned_model": f"models/{VERSION}",
    }
    assert {name: answer[name] for name in expected} == expected
    assert answer["config"]["max_prediction_length"] == 2
    assert answer["config"]["max_encoder_length"] == 4
    assert answer["config"]["targets"] == ["cpu_user_pct", "mem_used_pct"]


def test_no_answer_names_a_path_of_the_host(world):
    world.put_live()
    world.desk.versions = (status_of(VERSION, "live", world),)
    for path in ("/admin/models", "/admin/model-info", "/admin/reloads", "/status"):
        assert str(world.models_dir.parent) not in json.dumps(world.client.get(path).json)
