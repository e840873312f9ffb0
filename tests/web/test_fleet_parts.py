"""`/predictions/current` of a part of the fleet, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from support.columns import make_columns
from support.fleet_state import ENVIRONMENT, SUMMARY
from support.web_world import World, make_answer

from nordiq_watch.api.predictions import FleetState
from nordiq_watch.live.fleet_answer import Answer

SERVERS = ("ppdb001", "ppweb001", "ppweb002", "odd one")


def publish(world: World, servers: Sequence[str] = SERVERS, **changes: Any) -> Answer:
    profiles = ["Database", "Web API", "Web API", "Böse & Söhne", *["Generic"] * len(servers)][: len(servers)]
    scores = [90.0, 60.0, 0.0, float("nan"), *[1.0] * len(servers)][: len(servers)]
    fields: dict[str, Any] = {"columns": make_columns(servers, profiles=profiles, scores=scores)}
    answer = make_answer(**{**fields, "fleet": FleetState([], ENVIRONMENT, SUMMARY), **changes})
    world.show(answer)
    return answer


def ask(world: World, **query: Any) -> Any:
    response = world.client.get("/predictions/current", query_string=query)
    assert response.status_code == 200, response.data
    return response.json


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"servers": "ppweb002,ppdb001,nobody"}, ["ppdb001", "ppweb002"]),
        ({"servers": " odd one "}, ["odd one"]),
        ({"profile": "Web API"}, ["ppweb001", "ppweb002"]),
        ({"profile": "Database,Böse & Söhne"}, ["ppdb001", "odd one"]),
        ({"profile": "ML Compute"}, []),
        ({"profile": "web_api, database"}, ["ppdb001", "ppweb001", "ppweb002"]),
        ({"min_risk": "60"}, ["ppdb001", "ppweb001"]),
        ({"min_risk": "60.1"}, ["ppdb001"]),
        ({"min_risk": "0"}, ["ppdb001", "ppweb001", "ppweb002"]),
        ({"min_risk": "0", "profile": "Web API", "servers": "ppweb001,ppdb001"}, ["ppweb001"]),
        ({"limit": "10000"}, list(SERVERS)),
    ],
)
def test_servers_are_selected(world: World, query: dict[str, str], names: list[str]) -> None:
    publish(world)
    answer = ask(world, **query)
    assert list(answer["predictions"]) == names
    assert (answer["matched"], answer["next_cursor"]) == (len(names), None)


def test_an_entry_has_the_metrics_and_fields_that_are_asked_for(world: World) -> None:
    publish(world)
    whole = ask(world)["predictions"]["ppdb001"]
    assert ask(world, metrics="mem_used_pct,cpu_user_pct")["predictions"]["ppdb001"] == whole
    assert "cpu_user_pct" not in ask(world, metrics="mem_used_pct")["predictions"]["ppdb001"]
    some = ask(world, fields="p50,risk_score,profile")["predictions"]["ppdb001"]
    assert some == {"cpu_user_pct": {"p50": [25.0, 26.0]}, "profile": "Database", "risk_score": 90.0}
    assert ask(world, fields="alert")["predictions"]["odd one"] == {"alert": None}


def test_pages_have_every_server_once_and_the_fleet_s_state_first(world: World) -> None:
    names = [f"s{number:04}" for number in range(2500)]
    publish(world, names)
    pages = [ask(world, limit=1000)]
    while pages[-1]["next_cursor"] is not None:
        pages.append(ask(world, limit=1000, cursor=pages[-1]["next_cursor"]))
    assert [len(page["predictions"]) for page in pages] == [1000, 1000, 500]
    assert [name for page in pages for name in page["predictions"]] == names
    assert ["summary" in page for page in pages] == [True, False, False]
    assert {page["matched"] for page in pages} == {2500}
    assert all(page["metadata"] == pages[0]["metadata"] for page in pages)


def test_a_page_of_a_replaced_answer_is_gone(world: World) -> None:
    publish(world)
    cursor = ask(world, limit=1)["next_cursor"]
    assert list(ask(world, limit=2, cursor=cursor)["predictions"]) == ["ppweb001", "ppweb002"]
    publish(world)
    response = world.client.get("/predictions/current", query_string={"limit": 1, "cursor": cursor})
    assert (response.status_code, response.json["error"]) == (410, "Gone")
    assert "start again without a cursor" in response.json["detail"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"server": "a"}, "no query parameter 'server'; it takes servers, profile, label, min_risk, metrics, fields"),
        (
            {"metrics": "cpu_user_pct,cpu"},
            "metrics has 'cpu', which is no metric of this daemon; there are cpu_user_pct",
        ),
        ({"fields": "p51"}, "fields has 'p51', which is no field; there are current, p10, p50, p90, trend, display"),
        ({"profile": "databases"}, "profile has 'databases', which is no profile of this fleet; there are Database,"),
        ({"limit": "0"}, "limit is '0'; must be a whole number from 1 to 10000"),
        ({"limit": "10001"}, "limit is '10001'; must be a whole number from 1 to 10000"),
        ({"limit": "ten"}, "limit is 'ten'; must be"),
        ({"min_risk": "101"}, "min_risk is '101'; must be a number from 0 to 100"),
        ({"min_risk": "nan"}, "min_risk is 'nan'; must be a number from 0 to 100"),
        ({"servers": ""}, "servers is ''; must be one name, or several with one comma between"),
        ({"servers": "a,,b"}, "servers is 'a,,b'; must be"),
        ({"limit": "1", "cursor": "x"}, "cursor is 'x'; must be the next_cursor of the page before"),
        ({"cursor": "x"}, "cursor needs limit"),
    ],
)
def test_what_cannot_be_selected_is_named(world: World, query: dict[str, str], words: str) -> None:
    publish(world)
    response = world.client.get("/predictions/current", query_string=query)
    assert response.status_code == 400
    assert words in response.json["detail"]


def test_a_cursor_is_of_one_query(world: World) -> None:
    publish(world)
    cursor = ask(world, limit=1, profile="Web API")["next_cursor"]
    response = world.client.get("/predictions/current", query_string={"limit": 1, "cursor": cursor})
    assert response.status_code == 400
    assert "cursor is of another query" in response.json["detail"]


def test_without_a_model_a_part_says_so_too_and_wrong_names_are_wrong(world: World) -> None:
    answer = ask(world, limit=10, profile="Database")
    assert (answer["error"], answer["predictions"], answer["matched"]) == ("no_model", {}, 0)
    assert world.client.get("/predictions/current?metrics=x").status_code == 400


@pytest.mark.parametrize("count", [3, 1500])
def test_parts_have_a_tag_and_a_length_where_they_are_short(world: World, count: int) -> None:
    answer = publish(world, [f"s{number}" for number in range(count)])
    response = world.client.get("/predictions/current?limit=1500", headers={"Accept-Encoding": "identity"})
    assert response.headers["ETag"] == answer.etag
    assert (response.content_length is not None) == (count == 3)
    known = {"If-None-Match": answer.etag}
    assert world.client.get("/predictions/current?limit=1500", headers=known).status_code == 304
    assert world.client.get("/predictions/current?limit=0", headers=known).status_code == 400
