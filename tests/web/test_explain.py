from __future__ import annotations

from typing import Any

import pytest
from support.networks import busy_values, servable_of, snapshot_of
from support.serving import serving_of
from support.web_world import World

from nordiq_watch.records.forecasts import Forecasting


@pytest.fixture
def explained(world: World) -> World:
    model, window = servable_of(generation=3), snapshot_of(busy_values(3, 12))
    made = Forecasting(window, model.forecast(window))
    world.services.live.swap(serving_of(model, made), keep_previous=False)
    return world


def test_the_answer_names_its_model(explained: World) -> None:
    answer = explained.client.get("/explain/ppdb001?target=mem_used_pct&step=1")
    assert answer.status_code == 200
    assert (answer.json["prediction"]["target"], answer.json["prediction"]["step"]) == ("mem_used_pct", 1)
    assert answer.headers["X-Model-Version"] == answer.json["model_version"] == "tft_model_20250130_143003"
    assert answer.headers["X-Model-Generation"] == "3"


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ("ppdb001?step=-1", 400, "must be a whole number from 0"),
        ("ppdb001?step=99", 400, "from 0 to 3"),
        ("ppdb001?target=x", 400, "this model forecasts"),
        ("nobody", 404, "nobody"),
    ],
)
def test_what_cannot_be_explained(explained: World, query: str, status: int, says: str) -> None:
    answer = explained.client.get(f"/explain/{query}")
    assert (answer.status_code, says in answer.json["detail"]) == (status, True)


def test_too_many_at_once_are_asked_to_come_again(explained: World) -> None:
    request_slots: Any = explained.services.explanations._request_slots
    while request_slots.acquire(blocking=False):
        pass
    answer = explained.client.get("/explain/ppdb001")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json["error"] == "Busy"


def test_without_a_model(world: World) -> None:
    answer = world.client.get("/explain/ppdb001")
    assert (answer.status_code, answer.json["error"]) == (200, "no_model")
