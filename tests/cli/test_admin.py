from __future__ import annotations

import json
from typing import Any

import pytest
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.main import main
from nordiq_watch.client import client

LIVE = {
    "path": "models/tft_model_20250130_143000",
    "name": "tft_model_20250130_143000",
    "timestamp": "20250130_143000",
    "is_current": True,
    "state": "live",
    "size_mb": 245.3,
    "modified": "2025-01-30T14:35:22",
    "sha256": None,
    "training": {
        "epochs": 20,
        "training_time": 7200,
        "servers_trained": 50,
        "validation": {"windows": 2000, "metrics": {}},
        "comparison": {
            "windows": 2000,
            "beside_last_value": 0.86,
            "passed": True,
            "newest": "tft_model_20250123_000000",
            "beside_newest": 1.0125,
            "newest_skipped": None,
            "targets": {},
        },
    },
    "accuracy": None,
}
BROKEN = LIVE | {
    "name": "tft_model_20250131_143000",
    "state": "rejected",
    "is_current": False,
    "training": {"epochs": None, "training_time": None, "servers_trained": None, "validation": None},
    "reason": "weights: [bold]model.safetensors[/bold] is 17 bytes, its header says 4096",
}
MODELS = {
    "models": [BROKEN, LIVE],
    "count": 2,
    "models_dir": "models",
    "current_model": "models/tft_model_20250130_143000",
    "pinned_model": None,
}
LOADED: dict[str, Any] = {
    "id": 7,
    "trigger": "api",
    "state": "finished",
    "requested": None,
    "version": "tft_model_b",
    "drop": "5f0c91d2",
    "outcome": "loaded",
    "reason": None,
    "remarks": [],
    "warnings": [],
    "previous_model": "models/tft_model_a",
    "current_model": "models/tft_model_b",
    "created_at": "2025-01-30T14:35:22",
    "started_at": "2025-01-30T14:35:22",
    "finished_at": "2025-01-30T14:35:23",
    "seconds": 0.412345,
    "stages": [{"name": "verified", "seconds": 0.0121}, {"name": "loaded", "seconds": 0.31}],
}
REJECTED = LOADED | {
    "outcome": "rejected",
    "reason": "canary: p50 is NaN",
    "current_model": "models/tft_model_a",
}
ACCEPTED = (202, {"success": True, "message": "Reload is waiting", "id": 7, "state": "waiting"})


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


def test_models_says_what_is_live_and_why_others_are_not(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["GET", "/admin/models"] = (200, MODELS)
    assert main(["models", "--url", stub.url]) == 0
    title, headings, broken, live = capsys.readouterr().out.splitlines()
    assert title.strip() == "2 versions in models, live: models/tft_model_20250130_143000"
    assert headings.split()[:2] == ["name", "state"]
    assert broken.split() == [
        *("tft_model_20250131_143000", "rejected", "245.3", "2025-01-30T14:35:22", "-", "-", "-", "-"),
        *["weights:", "[bold]model.safetensors[/bold]", "is", "17", "bytes,", "its", "header", "says", "4096"],
    ]
    assert live.split() == [
        *("tft_model_20250130_143000", "live", "245.3", "2025-01-30T14:35:22", "20", "50"),
        *("-14.0", "%", "+1.2", "%"),
    ]


@pytest.mark.parametrize(
    ("command", "request_", "answer"),
    [
        (["models"], ("GET", "/admin/models"), MODELS),
        (["info"], ("GET", "/admin/model-info"), {"loaded": False, "mode": "none"}),
        (["reload"], ("POST", "/admin/reload-model"), {"success": True, "message": "Model reloaded successfully"}),
        (["rollback"], ("POST", "/admin/rollback"), {"success": True}),
        (["unpin"], ("POST", "/admin/unpin"), {"success": True}),
        (["reloads"], ("GET", "/admin/reloads"), {"reloads": [LOADED], "count": 1}),
        (["reloads", "7"], ("GET", "/admin/reloads/7"), LOADED),
    ],
)
def test_json_is_the_answer_unchanged(
    stub: StubDaemon,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    request_: tuple[str, str],
    answer: dict[str, Any],
) -> None:
    text = json.dumps(answer, indent=1)
    stub.answers[request_] = (200, text)
    assert main([*command, "--json", "--url", stub.url]) == 0
    assert capsys.readouterr().out == text + "\n"


def test_json_of_a_failed_reload_is_printed_and_fails(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["POST", "/admin/reload-model"] = (422, {"success": False, "reason": "canary: p50 is NaN"})
    assert main(["reload", "--json", "--url", stub.url]) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "canary: p50 is NaN"


def test_info_shows_sections_with_dots(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    info = {
        "loaded": True,
        "config": {"max_prediction_length": 96, "quantiles": [0.1, 0.5, 0.9]},
        "pinned_model": None,
    }
    stub.answers["GET", "/admin/model-info"] = (200, info)
    assert main(["info", "--url", stub.url]) == 0
    assert lines(capsys.readouterr().out) == [
        ["loaded", "yes"],
        ["config.max_prediction_length", "96"],
        ["config.quantiles", "0.1,", "0.5,", "0.9"],
        ["pinned_model", "-"],
    ]


def test_info_shows_how_good_it_was_in_validation(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["GET", "/admin/model-info"] = (200, {"loaded": True, "training": LIVE["training"]})
    assert main(["info", "--url", stub.url]) == 0
    assert lines(capsys.readouterr().out) == [
        ["loaded", "yes"],
        ["training.epochs", "20"],
        ["training.training_time", "7200"],
        ["training.servers_trained", "50"],
        ["training.vs.", "last", "value", "-14.0", "%"],
        ["training.vs.", "newest", "+1.2", "%"],
    ]


class TestReload:
    def test_the_stages_are_shown_as_they_pass(
        self, stub: StubDaemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "LOOK_AGAIN_SECONDS", 0)
        running = LOADED | {"state": "running", "outcome": None, "stages": LOADED["stages"][:1]}
        waiting = running | {"state": "waiting", "stages": []}
        stub.answers["POST", "/admin/reload-model?wait=false"] = ACCEPTED
        stub.answers["GET", "/admin/reloads/7"] = [(200, waiting), (200, running), (200, running), (200, LOADED)]
        assert main(["reload", "--url", stub.url]) == 0
        assert lines(capsys.readouterr().out) == [
            ["verified", "0.012", "s"],
            ["loaded", "0.310", "s"],
            [
                "models/tft_model_b",
                "is",
                "live,",
                "0.412",
                "s",
                "after",
                "the",
                "reload",
                "began;",
                "before:",
                "models/tft_model_a",
            ],
        ]

    def test_a_version_is_asked_for_by_name(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/admin/reload-model?model_path=tft_model_b&wait=false"] = ACCEPTED
        stub.answers["GET", "/admin/reloads/7"] = (200, LOADED)
        assert main(["reload", "tft_model_b", "--url", stub.url]) == 0

    def test_the_same_version_is_no_failure(self, stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
        stub.answers["POST", "/admin/reload-model?wait=false"] = ACCEPTED
        stub.answers["GET", "/admin/reloads/7"] = (200, LOADED | {"outcome": "unchanged", "stages": []})
        assert main(["reload", "--url", stub.url]) == 0
        assert capsys.readouterr().out == "models/tft_model_b is live already\n"

    def test_a_rejected_version_fails_with_its_reason(
        self, stub: StubDaemon, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stub.answers["POST", "/admin/reload-model?wait=false"] = ACCEPTED
        stub.answers["GET", "/admin/reloads/7"] = (200, REJECTED)
        assert main(["reload", "--url", stub.url]) == 1
        assert capsys.readouterr().err == (
            "error: reload 7 ended as rejected: canary: p50 is NaN; models/tft_model_a is still live\n"
        )

    def test_no_model_at_all(self, stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
        nothing = LOADED | {"outcome": "not_found", "reason": "models is empty", "current_model": None, "stages": []}
        stub.answers["POST", "/admin/reload-model?wait=false"] = ACCEPTED
        stub.answers["GET", "/admin/reloads/7"] = (200, nothing)
        assert main(["reload", "--url", stub.url]) == 1
        assert "reload 7 ended as not_found: models is empty; no model is live" in capsys.readouterr().err

    def test_a_name_that_is_none_is_refused_at_once(self, stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
        refusal = {"success": False, "error": "Bad request", "detail": "../x is not a version"}
        stub.answers["POST", "/admin/reload-model?model_path=..%2Fx&wait=false"] = (400, refusal)
        assert main(["reload", "../x", "--url", stub.url]) == 1
        assert capsys.readouterr().err == "error: Bad request: ../x is not a version (HTTP 400)\n"


def test_rollback_tells_what_is_live_now(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["POST", "/admin/rollback?wait=false"] = ACCEPTED
    stub.answers["GET", "/admin/reloads/7"] = (200, LOADED)
    assert main(["rollback", "--url", stub.url]) == 0
    assert "models/tft_model_b is live" in capsys.readouterr().out


def test_unpin_tells_what_is_live_now(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["POST", "/admin/unpin?wait=false"] = ACCEPTED
    stub.answers["GET", "/admin/reloads/7"] = (200, LOADED | {"outcome": "unpinned", "stages": []})
    assert main(["unpin", "--url", stub.url]) == 0
    assert "unpinned" in capsys.readouterr().out


def test_reloads_lists_outcomes_and_reasons(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = LOADED | {"id": 9, "state": "waiting", "outcome": None, "version": None, "seconds": None}
    stub.answers["GET", "/admin/reloads"] = (200, {"reloads": [waiting, REJECTED | {"id": 8}, LOADED], "count": 3})
    assert main(["reloads", "--url", stub.url]) == 0
    output = lines(capsys.readouterr().out)
    assert [row[0] for row in output[2:]] == ["9", "8", "7"]
    assert output[2][3:] == ["-", "waiting", "-"]
    assert output[3][3:] == ["tft_model_b", "rejected", "0.4123", "canary:", "p50", "is", "NaN"]


def test_one_reload_is_shown_with_its_stages(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["GET", "/admin/reloads/7"] = (200, LOADED)
    assert main(["reloads", "7", "--url", stub.url]) == 0
    output = lines(capsys.readouterr().out)
    assert ["outcome", "loaded"] in output
    assert output[-2:] == [["verified", "0.0121"], ["loaded", "0.31"]]


def test_a_daemon_that_is_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--url", "http://127.0.0.1:1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no daemon answers at http://127.0.0.1:1 (connection refused)")
    assert captured.err.count("\n") == 1


def test_a_followed_reload_is_one_line_a_step_for_scripts(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    running = LOADED | {"state": "running", "outcome": None, "stages": LOADED["stages"][:1]}
    stub.answers["POST", "/admin/reload-model?wait=false"] = ACCEPTED
    stub.answers["GET", "/admin/reloads/7"] = [(200, running), (200, running), (200, LOADED)]
    assert main(["reload", "--follow", "--json", "--url", stub.url]) == 0
    steps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(len(step["stages"]), step["outcome"]) for step in steps] == [(1, None), (2, "loaded")]


def test_a_followed_reload_that_failed_is_an_exit_code(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers["POST", "/admin/rollback?wait=false"] = ACCEPTED
    stub.answers["GET", "/admin/reloads/7"] = (200, REJECTED)
    assert main(["rollback", "--follow", "--json", "--url", stub.url]) == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "canary: p50 is NaN"
