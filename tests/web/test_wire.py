"""What holds every answer of the other tests against its Struct (support/wire.py) finds a wrong one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.columns import make_columns
from support.web_world import METRICS, World, make_answer
from support.wire import check_answer

FLEET = json.loads(make_answer().body)
SERVER = FLEET["predictions"]["ppdb001"]
CPU = SERVER["cpu_user_pct"]


def check(body: Any, path: str = "/predictions/current?x=1") -> None:
    check_answer("GET", path, 200, "application/json", json.dumps(body).encode(), metrics=METRICS)


@pytest.mark.parametrize(
    "server",
    [
        {**SERVER, "swap_used_pct": {"current": 1.0}},
        {**SERVER, "profile": None},
        {**SERVER, "cpu_user_pct": {**CPU, "p99": CPU["p90"]}},
        {**SERVER, "cpu_user_pct": {**CPU, "p10": None}},
        {**SERVER, "cpu_user_pct": dict(reversed(CPU.items()))},
        {**SERVER, "alert": {"level": "red", "score": 1.0, "color": "", "emoji": "", "label": ""}},
        {name: value for name, value in SERVER.items() if name != "display_metrics"},
    ],
    ids=["unknown metric", "null", "unknown field", "no list", "another order", "unknown word", "missing"],
)
def test_a_wrong_forecast_is_found(server: dict[str, Any]) -> None:
    check(FLEET)
    with pytest.raises(AssertionError, match="GET /predictions/current"):
        check({**FLEET, "predictions": {"ppdb001": server}})


def test_one_of_several_kinds_is_enough() -> None:
    check({"server": "a", "known": False, "standing": None}, "/view/servers/a")
    with pytest.raises(AssertionError, match="no ServerView"):
        check({"server": "a", "known": True}, "/view/servers/a")


def test_the_client_of_the_tests_checks(world: World) -> None:
    wrong = replace(make_columns(["ppdb001"]), profiles=(7,))  # type: ignore[arg-type]
    world.show(make_answer(columns=wrong, render_ahead=1))
    for accepted in ("gzip", "identity"):
        with pytest.raises(AssertionError, match="GET /predictions/current"):
            world.client.get("/predictions/current", headers={"Accept-Encoding": accepted})
