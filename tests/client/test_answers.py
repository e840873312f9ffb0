"""Answers become values: with types, with zones, and without what is not known."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nordiq_watch.client.answers import Model, Reload, read, read_forecast
from nordiq_watch.errors import ClientError

MODEL = {
    "path": "models/tft_model_1",
    "name": "tft_model_1",
    "timestamp": None,
    "is_current": True,
    "state": "live",
    "size_mb": 1,
    "modified": "2025-01-30T14:35:22",
    "sha256": "ab" * 32,
    "training": {"epochs": 3},
    "accuracy": None,
}
RELOAD = {
    "id": 1,
    "trigger": "api",
    "state": "finished",
    "requested": None,
    "version": None,
    "drop": None,
    "outcome": None,
    "reason": None,
    "remarks": [],
    "warnings": [],
    "previous_model": None,
    "current_model": None,
    "created_at": "2025-01-30T14:35:22+00:00",
    "started_at": None,
    "finished_at": None,
    "seconds": None,
    "stages": [],
}


def test_times_have_a_zone_and_unknown_fields_do_not_matter() -> None:
    model = read(MODEL | {"something_new": [1]}, Model)
    assert model.modified == datetime(2025, 1, 30, 14, 35, 22, tzinfo=UTC)
    assert (model.training.epochs, model.training.validation, model.reason) == (3, None, None)


def test_an_answer_of_somebody_else_is_one_clear_line() -> None:
    with pytest.raises(ClientError, match=r"not what this client knows: .*id"):
        read({"id": "seven"}, Reload)


@pytest.mark.parametrize(
    ("outcome", "succeeded"),
    [
        ("loaded", True),
        ("unchanged", True),
        ("unpinned", True),
        ("rejected", False),
        ("not_found", False),
        (None, False),
    ],
)
def test_a_reload_knows_whether_it_did_what_was_asked(outcome: str | None, succeeded: bool) -> None:
    reload = read(RELOAD | {"outcome": outcome}, Reload)
    assert reload.created_at == datetime(2025, 1, 30, 14, 35, 22, tzinfo=UTC)
    assert reload.succeeded is succeeded


def test_metrics_are_told_from_what_else_a_server_has() -> None:
    forecast = read_forecast(
        {
            "predictions": {
                "ppdb001": {
                    "cpu_user_pct": {"current": 43.0, "p10": [1.0], "p50": [2], "p90": [3.0], "trend": -0.1},
                    "load_average": {"current": None},
                    "display_metrics": {"cpu": {"current": 43.0}},
                    "risk_score": 55.5,
                    "alert": {"level": "degraded", "score": 55.5},
                    "profile": "Database",
                }
            },
            "metadata": {"model_version": "v", "horizon_steps": 1},
            "summary": {"total_servers": 1},
        }
    )
    server = forecast.servers["ppdb001"]
    assert set(server.metrics) == {"cpu_user_pct", "load_average"}
    assert server.metrics["cpu_user_pct"].p50 == (2.0,)
    assert [metric.is_forecast for metric in server.metrics.values()] == [True, False]
    assert (server.risk_score, server.level, server.profile) == (55.5, "degraded", "Database")
    assert (forecast.error, forecast.metadata["model_version"]) == (None, "v")


def test_nothing_to_say_yet_is_an_answer() -> None:
    forecast = read_forecast({"error": "no_model", "message": "none yet", "predictions": {}})
    assert (forecast.error, forecast.message, forecast.servers) == ("no_model", "none yet", {})
