from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from support.web_world import KEY, ApiResponse, World, read_answer

from nordiq_watch.api.enums import Check
from nordiq_watch.api.failure import Failure, OrderFailure
from nordiq_watch.errors import (
    Busy,
    ConfigError,
    ModelRejected,
    NordiqError,
    NotFound,
    RequestError,
    StorageError,
    TransientModelError,
)

SECRET = "/srv/nordiq/state/samples.sqlite"
FailWith = Callable[[Exception], ApiResponse]


@pytest.fixture
def fail_with(world: World) -> FailWith:
    """GET /health raises what it is given."""

    def fail(error: Exception) -> ApiResponse:
        def view() -> NoReturn:
            raise error

        world.app.view_functions["status.show_health"] = view
        return world.client.get("/health")

    return fail


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (RequestError("what and why"), 400, "Bad request"),
        (NotFound("what and why"), 404, "Not found"),
        (Busy("what and why"), 503, "Busy"),
    ],
)
def test_what_a_client_can_mend_is_told(fail_with: FailWith, error: Exception, status: int, title: str) -> None:
    answer = fail_with(error)
    assert answer.status_code == status
    assert read_answer(answer, Failure) == Failure(title, "what and why")
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)


@pytest.mark.parametrize("kind", [ModelRejected, TransientModelError])
def test_a_rejected_model_is_told(fail_with: FailWith, kind: type[ModelRejected]) -> None:
    answer = fail_with(kind("tft_model_1", check=Check.CANARY, found="p50 is NaN", remedy="Run verify."))
    assert answer.status_code == 422
    assert answer.json["detail"] == "tft_model_1: p50 is NaN (check: canary). Run verify."


@pytest.mark.parametrize(
    ("error", "status"),
    [(StorageError(f"{SECRET}: disk full"), 503), (ConfigError(SECRET), 500), (NordiqError(SECRET), 500)],
)
def test_what_concerns_the_host_stays_in_the_log(
    fail_with: FailWith, caplog: pytest.LogCaptureFixture, error: Exception, status: int
) -> None:
    answer = fail_with(error)
    assert answer.status_code == status
    assert answer.json["detail"] == "The daemon could not do this; its log says why."
    assert SECRET not in answer.text
    assert SECRET in caplog.text


def test_an_unexpected_error_is_logged_with_its_traceback_and_told_without(
    fail_with: FailWith, caplog: pytest.LogCaptureFixture
) -> None:
    answer = fail_with(ZeroDivisionError(f"in {SECRET}"))
    assert answer.status_code == 500
    assert read_answer(answer, Failure) == Failure("Internal error", "The daemon could not do this; its log says why.")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert "GET /health failed" in record.getMessage()


def test_a_route_that_does_not_exist_answers_in_json(world: World) -> None:
    answer = world.client.get("/nothing")
    assert (answer.status_code, answer.json["error"]) == (404, "Not found")
    assert answer.json["detail"]


def test_a_wrong_method_answers_in_json_and_names_the_right_ones(world: World) -> None:
    answer = world.client.get("/feed/data")
    assert (answer.status_code, answer.json["error"]) == (405, "Method not allowed")
    assert answer.mimetype == "application/json"
    assert "POST" in answer.headers["Allow"]


def test_a_reload_that_fails_unexpectedly_is_no_success(world: World) -> None:
    def view() -> NoReturn:
        raise ZeroDivisionError

    world.app.view_functions["admin.roll_back"] = view
    answer = world.client.post("/admin/rollback")
    assert answer.status_code == 500
    assert read_answer(answer, OrderFailure).success is False


def test_no_answer_names_a_place_on_the_host_or_a_key(world: World, tmp_path: Path) -> None:
    world.reloads.outcome = {"outcome": "rejected", "reason": "layout: config.json cannot be read"}
    for rule in world.app.url_map.iter_rules():
        path = re.sub("<[^>]+>", "1", rule.rule)
        for method in ("GET", "POST", "PUT", "DELETE"):
            for body in (b"", b"{", b"\xff\xfe", b'{"records": 1}', b'{"model_path": "/etc/passwd"}'):
                answer = world.client.open(path, method=method, data=body, query_string={"limit": "x", "wait": "x"})
                shown = answer.text + str(answer.headers)
                assert answer.status_code < 500 or path == "/ready", (method, path, body, answer.text)
                assert not any(secret in shown for secret in (str(tmp_path), KEY, "Traceback", "site-packages"))
