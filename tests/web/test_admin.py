from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.web_world import KEY, METRICS, NOW, VERSION, ApiClient, BuildWorld, World, read_answer

from nordiq_watch.api import models as api
from nordiq_watch.api.enums import ReloadOutcome, ReloadState, VersionState
from nordiq_watch.api.failure import OrderFailure
from nordiq_watch.api.models import Model, ModelConfig, ModelInfo, Models, ModelServers, NoModel, Training
from nordiq_watch.api.reloads import Accepted, Loaded, NotLoaded, Reload, Reloads, Unpinned
from nordiq_watch.config.schema import ServerSettings
from nordiq_watch.records.models import Version
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, RollBack, Unpin
from nordiq_watch.reload.queue import Ticket
from nordiq_watch.reload.version_status import VersionStatus
from nordiq_watch.spec import Comparison, TargetErrors, TrainingInfo
from nordiq_watch.web import admin

OLD = "tft_model_20250129_120000"
LOADED: dict[str, Any] = {"outcome": "loaded", "version": VERSION, "previous": OLD, "current": VERSION}
WAIT_SECONDS = 20


# --- reload ---


def test_without_a_name_the_latest_is_loaded(world: World) -> None:
    world.reloads.outcome = LOADED
    answer = world.client.post("/admin/reload-model")
    assert world.reloads.jobs == [LoadLatest()]
    assert answer.status_code == 200
    assert read_answer(answer, Loaded) == Loaded(
        success=True,
        message="Model reloaded successfully",
        previous_model=f"models/{OLD}",
        new_model=f"models/{VERSION}",
        model_timestamp="20250130_143000",
        id=1,
    )


@pytest.mark.parametrize("written", [VERSION, f"models/{VERSION}", f"models/{VERSION}/"])
@pytest.mark.parametrize("in_body", [False, True])
def test_a_version_may_be_named_in_the_query_or_in_the_body(world: World, written: str, in_body: bool) -> None:
    world.reloads.outcome = LOADED
    if in_body:
        answer = world.client.post("/admin/reload-model", json={"model_path": written})
    else:
        answer = world.client.post("/admin/reload-model", query_string={"model_path": written})
    assert answer.status_code == 200
    assert world.reloads.jobs == [LoadVersion(VERSION)]


@pytest.mark.parametrize("body", ["", "  \n", "{}", '{"model_path": null}'])
def test_a_body_that_names_nothing_means_the_latest(world: World, body: str) -> None:
    world.reloads.outcome = LOADED
    assert world.client.post("/admin/reload-model", data=body).status_code == 200
    assert world.reloads.jobs == [LoadLatest()]


def test_query_and_body_may_agree_but_not_differ(world: World) -> None:
    world.reloads.outcome = LOADED
    place = f"/admin/reload-model?model_path={VERSION}"
    assert world.client.post(place, json={"model_path": VERSION}).status_code == 200
    answer = world.client.post(place, json={"model_path": OLD})
    assert answer.status_code == 400
    assert "differ" in read_answer(answer, OrderFailure).detail


@pytest.mark.parametrize("body", ["no json", "[]", '"x"', '{"model_path": 3}', '{"modelpath": "x"}', b"\xff\xfe{}"])
def test_a_body_that_is_something_else_is_refused(world: World, body: bytes | str) -> None:
    answer = world.client.post("/admin/reload-model", data=body)
    assert answer.status_code == 400
    failure = read_answer(answer, OrderFailure)
    assert (failure.success, "model_path" in failure.detail) == (False, True)
    assert world.reloads.jobs == []


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("unchanged", 200), ("rejected", 422), ("not_found", 404)],
)
def test_the_outcome_decides_the_status(world: World, outcome: str, status: int) -> None:
    world.reloads.outcome = {"outcome": outcome, "current": OLD, "reason": "because"}
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
def test_whatever_is_or_points_outside_is_refused_and_never_queued(world: World, text: str) -> None:
    for answer in (
        world.client.post("/admin/reload-model", query_string={"model_path": text}),
        world.client.post("/admin/reload-model", json={"model_path": text}),
    ):
        assert answer.status_code == 400
        failure = read_answer(answer, OrderFailure)
        assert (failure.success, bool(failure.detail)) == (False, True)
        assert len(answer.text) < 1000
        assert str(world.models_dir.parent) not in answer.text
    assert world.reloads.jobs == []


@pytest.mark.parametrize("text", OUTSIDE)
def test_encoding_it_once_more_does_not_help(world: World, text: str) -> None:
    twice = quote(quote(text, safe=""), safe="")
    answer = world.client.post(f"/admin/reload-model?model_path={twice}")
    assert answer.status_code == 400
    assert world.reloads.jobs == []


def test_a_symlink_in_the_models_directory_is_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (world.models_dir / VERSION).symlink_to(tmp_path / "elsewhere")
    answer = world.client.post(f"/admin/reload-model?model_path={VERSION}")
    assert answer.status_code == 400
    assert "symbolic link" in answer.json["detail"]
    assert world.reloads.jobs == []


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60) | st.from_regex(r"(models/|\.\./|/|%2e|\\|\x00)*(tft_model_[0-9_]*)?[./%\\]*"))
def test_no_text_gets_past_the_names(world: World, text: str) -> None:
    world.reloads.jobs.clear()
    world.reloads.outcome = LOADED
    answer = world.client.post("/admin/reload-model", json={"model_path": text})
    if answer.status_code == 200:
        (job,) = world.reloads.jobs
        assert isinstance(job, LoadVersion)
        assert job.name.startswith("tft_model_")
        assert (world.models_dir / job.name).resolve().parent == world.models_dir.resolve()
    else:
        assert answer.status_code == 400
        assert world.reloads.jobs == []


# --- waiting ---


@pytest.mark.parametrize("wait", ["false", "False", "0"])
@pytest.mark.parametrize("path", ["/admin/reload-model", "/admin/rollback", "/admin/unpin"])
def test_who_does_not_wait_gets_an_id(world: World, path: str, wait: str) -> None:
    answer = world.client.post(f"{path}?wait={wait}")
    assert answer.status_code == 202
    assert read_answer(answer, Accepted) == Accepted(
        True, "Reload is waiting", 1, ReloadState.WAITING, "/admin/reloads/1"
    )
    assert answer.headers["Location"].endswith("/admin/reloads/1")


def test_who_does_not_wait_gets_an_id_even_if_it_is_over(world: World) -> None:
    world.reloads.outcome = LOADED
    answer = world.client.post("/admin/reload-model?wait=false")
    assert (answer.status_code, answer.json["state"]) == (202, "finished")


def test_a_wait_that_is_no_switch_is_refused_before_anything_begins(world: World) -> None:
    answer = world.client.post("/admin/reload-model?wait=soon")
    assert answer.status_code == 400
    assert read_answer(answer, OrderFailure) == OrderFailure("Bad request", "wait is 'soon'; must be true or false")
    assert world.reloads.jobs == []


def test_a_reload_that_takes_too_long_goes_on_under_its_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "LONGEST_WAIT_SECONDS", 0.01)
    answer = world.client.post("/admin/reload-model")
    assert (answer.status_code, answer.json["id"]) == (202, 1)


def on_wait(world: World, monkeypatch: pytest.MonkeyPatch, *, do: Callable[[Ticket], object]) -> None:
    """Calls `do(ticket)` whenever a request begins to wait for a reload."""
    submit = world.reloads.submit

    def submit_watched(job: Job) -> Ticket:
        ticket = submit(job)
        wait = ticket.wait

        def wait_watched(timeout: float | None) -> ReloadRecord:
            if timeout:
                do(ticket)
            return wait(timeout)

        monkeypatch.setattr(ticket, "wait", wait_watched)
        return ticket

    monkeypatch.setattr(world.reloads, "submit", submit_watched)


def test_a_waiting_request_is_answered_when_the_reload_ends_and_others_do_not_take_all_threads(
    build_world: BuildWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build_world(server=ServerSettings(threads=2))  # one seat to wait in
    waiting = threading.Event()
    on_wait(world, monkeypatch, do=lambda ticket: waiting.set())
    answers: list[Any] = []
    waiter = threading.Thread(target=lambda: answers.append(world.client.post("/admin/reload-model")))
    waiter.start()
    assert waiting.wait(WAIT_SECONDS)
    waiting.clear()
    second = ApiClient(world.app).post("/admin/rollback", headers={"X-API-Key": KEY})
    assert (second.status_code, second.json["id"]) == (202, 2)
    assert not waiting.is_set()
    world.reloads.finish(world.reloads.tickets[0], **LOADED)
    waiter.join(WAIT_SECONDS)
    assert [answer.status_code for answer in answers] == [200]


def test_the_seat_is_free_again_after_the_wait(build_world: BuildWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = build_world(server=ServerSettings(threads=1))
    on_wait(world, monkeypatch, do=lambda ticket: world.reloads.finish(ticket, **LOADED))
    for _ in range(3):
        assert world.client.post("/admin/reload-model").status_code == 200


# --- rollback, unpin ---


def test_rollback_answers_like_reload(world: World) -> None:
    world.reloads.outcome = {"outcome": "loaded", "version": OLD, "previous": VERSION, "current": OLD}
    answer = world.client.post("/admin/rollback")
    assert world.reloads.jobs == [RollBack()]
    assert (answer.status_code, answer.json["new_model"]) == (200, f"models/{OLD}")


def test_rollback_without_a_version_to_go_back_to_says_so(world: World) -> None:
    world.reloads.outcome = {"outcome": "not_found", "reason": "there is no version to go back to", "current": VERSION}
    answer = world.client.post("/admin/rollback")
    assert answer.status_code == 404
    why = "there is no version to go back to"
    assert read_answer(answer, NotLoaded) == NotLoaded(False, "No model found", why, why, f"models/{VERSION}", id=1)


def test_unpin_lets_the_watcher_choose(world: World) -> None:
    world.reloads.outcome = {"outcome": "unpinned", "current": VERSION}
    answer = world.client.post("/admin/unpin")
    assert world.reloads.jobs == [Unpin()]
    assert (answer.status_code, read_answer(answer, Unpinned).current_model) == (200, f"models/{VERSION}")


def test_orders_are_logged_with_who_gave_them(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nordiq_watch")
    world.reloads.outcome = LOADED
    world.client.post(f"/admin/reload-model?model_path={VERSION}")
    assert f"LoadVersion(name='{VERSION}', trigger='api') from 127.0.0.1: reload 1" in caplog.text


# --- the list of reloads ---


def test_reloads_are_listed_newest_first(world: World) -> None:
    world.reloads.outcome = {"outcome": "rejected", "reason": "layout: cut off", "current": OLD}
    for _ in range(3):
        world.client.post("/admin/reload-model")
    answer = read_answer(world.client.get("/admin/reloads"), Reloads)
    assert ([reload.id for reload in answer.reloads], answer.count) == ([3, 2, 1], 3)
    assert answer.reloads[0].reason == "layout: cut off"
    (newest,) = read_answer(world.client.get("/admin/reloads?limit=1"), Reloads).reloads
    assert newest.id == 3


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "1.5", "", "٣", "9" * 5000, "000000001" + "0" * 5000])
def test_an_impossible_limit_is_refused(world: World, limit: str) -> None:
    answer = world.client.get("/admin/reloads", query_string={"limit": limit})
    assert answer.status_code == 400
    assert "from 1 to 1000" in answer.json["detail"]


def test_one_reload_can_be_followed_by_its_id(world: World) -> None:
    world.client.post("/admin/reload-model?wait=false")
    assert read_answer(world.client.get("/admin/reloads/1"), Reload).state is ReloadState.WAITING
    world.reloads.finish(world.reloads.tickets[0], **LOADED)
    reload = read_answer(world.client.get("/admin/reloads/1"), Reload)
    assert (reload.state, reload.outcome, reload.seconds) == (ReloadState.FINISHED, ReloadOutcome.LOADED, 1.5)


@pytest.mark.parametrize("reload_id", ["2", "999999999999999999999", "1" * 5000, "-1", "1.0", "one", "١"])
def test_an_unknown_reload_is_404(world: World, reload_id: str) -> None:
    answer = world.client.get(f"/admin/reloads/{reload_id}")
    assert (answer.status_code, answer.json["error"]) == (404, "Not found")


# --- models and the model ---


def status_of(name: str, state: str, world: World, **fields: Any) -> VersionStatus:
    stamp = name.removeprefix("tft_model_")
    version = Version(name, world.models_dir / name, stamp, "print", 245_300_000, NOW)
    return VersionStatus(version, VersionState(state), **fields)


COMPARISON = Comparison(
    windows=2000,
    beside_last_value=0.86,
    passed=True,
    newest="tft_model_20250123_000000",
    beside_newest=0.97,
    targets={"cpu_user_pct": TargetErrors(model=1.42, last_value=1.66, newest=1.47)},
)


def test_models_are_listed_with_what_is_thought_of_them(world: World) -> None:
    world.put_live(generation=4)
    world.reloads.pinned = VERSION
    info = TrainingInfo(
        epochs=20, training_time=7200.0, servers_trained=50, validation={"mae": 1.5}, comparison=COMPARISON
    )
    world.reloads.versions = (
        status_of("tft_model_20250131_000000", "rejected", world, reason="weights: truncated"),
        status_of(VERSION, "live", world, sha256="ab" * 32, generation=4, training=info),
    )
    answer = read_answer(world.client.get("/admin/models"), Models)
    assert (answer.count, answer.models_dir, answer.current_model) == (2, "models", f"models/{VERSION}")
    assert (answer.pinned_model, answer.pinned_missing) == (f"models/{VERSION}", False)
    refused, live = answer.models
    assert live == Model(
        path=f"models/{VERSION}",
        name=VERSION,
        timestamp="20250130_143000",
        is_current=True,
        state=VersionState.LIVE,
        size_mb=245.3,
        modified="2025-01-30T14:06:40",
        sha256="ab" * 32,
        training=Training(
            epochs=20,
            training_time=7200.0,
            servers_trained=50,
            validation={"mae": 1.5},
            comparison=api.Comparison(
                windows=2000,
                beside_last_value=0.86,
                passed=True,
                newest="tft_model_20250123_000000",
                beside_newest=0.97,
                newest_skipped=None,
                targets={"cpu_user_pct": api.TargetErrors(1.42, 1.66, 1.47)},
            ),
        ),
        accuracy=None,
        generation=4,
    )
    assert (refused.is_current, refused.state, refused.reason) == (False, VersionState.REJECTED, "weights: truncated")
    assert refused.training == Training(None, None, None, None)


def test_an_empty_models_directory_is_an_empty_list(world: World) -> None:
    answer = world.client.get("/admin/models")
    assert answer.status_code == 200
    assert read_answer(answer, Models) == Models([], 0, models_dir="models", current_model=None, pinned_model=None)


def test_model_info_without_a_model(world: World) -> None:
    answer = world.client.get("/admin/model-info")
    assert read_answer(answer, NoModel) == NoModel(loaded=False, mode="none", pinned=False, pinned_model=None)


def test_a_pin_whose_version_is_gone_is_told(world: World) -> None:
    world.put_live()
    world.reloads.pinned = "tft_model_20250129_000000"
    world.reloads.versions = (status_of(VERSION, "live", world),)
    for answer in (
        read_answer(world.client.get("/admin/models"), Models),
        read_answer(world.client.get("/admin/model-info"), ModelInfo),
    ):
        assert (answer.pinned_model, answer.pinned_missing) == ("models/tft_model_20250129_000000", True)
        assert f"{VERSION} is live, and newer drops wait" in str(answer.pinned_note)
    world.reloads.pinned = VERSION
    assert read_answer(world.client.get("/admin/model-info"), ModelInfo).pinned_missing is False


def test_model_info_tells_known_servers_from_unknown_ones(world: World) -> None:
    world.put_live(generation=2, known=frozenset({"ppdb001", "ppdb002", "ppdb777"}))
    world.reloads.pinned = VERSION
    names = ("ppdb001", "ppdb002", "ppnew01")
    records = [{"timestamp": NOW, "server_name": name, "cpu_user_pct": 1} for name in names]
    world.client.post("/feed/data", json={"records": records})
    assert read_answer(world.client.get("/admin/model-info"), ModelInfo) == ModelInfo(
        loaded=True,
        mode="tft",
        model_path=f"models/{VERSION}",
        model_name=VERSION,
        model_timestamp="20250130_143000",
        generation=2,
        sha256="ab" * 32,
        members=("network",),
        compute="plain",
        config=ModelConfig(
            max_prediction_length=2,
            max_encoder_length=4,
            interval_seconds=300,
            quantiles=(0.1, 0.5, 0.9),
            metrics=METRICS,
            targets=METRICS,
        ),
        servers=ModelServers(total=3, known=2, trained=3),
        training=Training(),
        warnings=(),
        pinned=True,
        pinned_model=f"models/{VERSION}",
        pinned_missing=True,
        pinned_note=ANY,
    )


def test_model_info_has_the_figures_of_the_loaded_bytes(world: World) -> None:
    world.put_live(training=TrainingInfo(epochs=3, comparison=COMPARISON))
    training = read_answer(world.client.get("/admin/model-info"), ModelInfo).training
    assert training.comparison is not None
    assert (training.epochs, training.comparison.beside_last_value) == (3, 0.86)


def test_no_answer_names_a_path_of_the_host(world: World) -> None:
    world.put_live()
    world.reloads.versions = (status_of(VERSION, "live", world),)
    for path in ("/admin/models", "/admin/model-info", "/admin/reloads", "/status"):
        assert str(world.models_dir.parent) not in json.dumps(world.client.get(path).json)
