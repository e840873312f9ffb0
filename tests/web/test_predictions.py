from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from support.columns import make_columns
from support.web_world import NOW, VERSION, World, make_answer

from nordiq_watch.events import BatchAccepted
from nordiq_watch.live.fleet_answer import Answer


def publish(world: World, **changes: Any) -> Answer:
    answer = make_answer(**changes)
    world.show(answer)
    return answer


def test_the_bytes_of_the_board_are_handed_out(world: World) -> None:
    answer = publish(world)
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": "identity"})
    assert response.status_code == 200
    assert response.data == answer.body
    assert response.mimetype == "application/json"
    assert response.headers["ETag"] == answer.etag
    assert response.headers["X-Model-Version"] == VERSION
    assert response.headers["X-Model-Generation"] == "1"
    assert response.headers["Vary"] == "Accept, Accept-Encoding"
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("ahead", [0, 10])
@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*"])
def test_who_takes_gzip_gets_it(world: World, accepted: str, ahead: int) -> None:
    answer = publish(world, render_ahead=ahead)
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": accepted})
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(response.data) == answer.body


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0"])
def test_who_does_not_take_gzip_does_not_get_it(world: World, accepted: str) -> None:
    answer = publish(world)
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": accepted})
    assert response.data == answer.body


def test_a_large_fleet_is_written_while_it_is_sent(world: World) -> None:
    answer = publish(world, columns=make_columns([f"s{number}" for number in range(1000)]))
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": "identity"}, buffered=False)
    assert response.content_length is None
    later = publish(world, generation=2)
    assert response.data == answer.body, "and stays of one answer, whatever is served by the end"
    assert response.headers["ETag"] == answer.etag != later.etag
    assert world.client.get("/predictions/current", headers={"If-None-Match": later.etag}).status_code == 304


def test_only_so_many_long_answers_are_sent_at_once(world: World) -> None:
    publish(world)
    first = world.client.get("/predictions/current")
    busy = world.client.get("/predictions/current")
    assert (first.status_code, busy.status_code) == (200, 503)
    assert busy.json["error"] == "Busy"
    first.close()
    assert world.client.get("/predictions/current").status_code == 200
    assert world.client.get("/predictions/ppdb001").status_code == 200


def test_who_has_the_answer_gets_304_until_there_is_a_new_one(world: World) -> None:
    first = publish(world)
    known = {"If-None-Match": f'"something", {first.etag}'}
    response = world.client.get("/predictions/current", headers=known)
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == first.etag
    assert response.headers["X-Model-Generation"] == "1"
    second = publish(world, generation=2)
    response = world.client.get("/predictions/current", headers=known)
    assert response.status_code == 200
    assert response.headers["ETag"] == second.etag


def test_a_swap_changes_answer_and_headers_at_once(world: World) -> None:
    publish(world, generation=1)
    assert world.client.get("/predictions/current").headers["X-Model-Generation"] == "1"
    world.put_live("tft_model_20250131_000000", generation=2)
    response = world.client.get("/predictions/current")
    assert response.headers["X-Model-Version"] == "tft_model_20250131_000000"
    assert response.headers["X-Model-Generation"] == "2"
    assert response.json["metadata"]["model_generation"] == 2


def test_without_a_model_the_answer_says_so_with_200_and_without_model_headers(world: World) -> None:
    response = world.client.get("/predictions/current")
    assert response.status_code == 200
    assert response.json["error"] == "no_model"
    assert response.json["predictions"] == {}
    assert "X-Model-Version" not in response.headers


def test_one_server_alone(world: World) -> None:
    answer = publish(world, servers=("ppdb001", "ppml001"))
    response = world.client.get("/predictions/ppml001")
    assert response.status_code == 200
    assert list(response.json["predictions"]) == ["ppml001"]
    assert response.json["metadata"] == json.loads(answer.body)["metadata"]
    assert response.headers["X-Model-Version"] == VERSION
    again = world.client.get("/predictions/ppml001", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("name", ["rack/7", "mit leer", "größe"])
def test_a_servers_name_may_be_any_text(world: World, name: str) -> None:
    publish(world, servers=(name,))
    assert list(world.client.get(f"/predictions/{name}").json["predictions"]) == [name]


def test_an_unknown_server_is_404(world: World) -> None:
    publish(world)
    response = world.client.get("/predictions/ppxx999")
    assert response.status_code == 404
    assert response.json["error"] == "Not found"
    assert "'ppxx999'" in response.json["detail"]


def test_a_server_that_is_not_ready_yet_says_what_it_lacks(world: World) -> None:
    publish(world, cold={"ppml001": "ppml001 has 1 of 2 samples."})
    response = world.client.get("/predictions/ppml001")
    assert response.status_code == 200
    assert response.json["error"] == "insufficient_data"
    assert response.json["message"] == "ppml001 has 1 of 2 samples."
    assert response.json["predictions"] == {}


def fed_with(world: World, *servers: Any) -> None:
    records = [{"timestamp": world.services.clock(), "server_name": name, "cpu_user_pct": 1} for name in servers]
    assert world.client.post("/feed/data", json={"records": records}).status_code == 200


def test_a_server_that_sends_while_no_model_is_live_is_known(world: World) -> None:
    fed_with(world, "ppdb001")
    response = world.client.get("/predictions/ppdb001")
    assert (response.status_code, response.json["error"]) == (200, "no_model")
    assert world.client.get("/predictions/ppdb002").status_code == 404


def test_a_server_that_went_silent_is_known(world: World) -> None:
    fed_with(world, "ppdb001")
    publish(world, servers=("ppml001",))
    response = world.client.get("/predictions/ppdb001")
    assert (response.status_code, response.json["error"]) == (200, "insufficient_data")
    assert response.json["message"] == "ppdb001 has gone silent."
    assert response.json["predictions"] == {}


def test_asking_computes_and_changes_nothing(world: World) -> None:
    heard: list[object] = []
    world.services.events.subscribe(BatchAccepted, heard.append)
    before = world.services.live.serving().answer
    world.client.get("/predictions/current")
    assert world.services.live.serving().answer is before
    assert heard == []


def test_a_server_is_found_by_each_way_of_writing_its_name(world: World) -> None:
    name = "gr\u00f6\u00dfe/1"
    fed = {"timestamp": NOW, "server_name": name, "cpu_user_pct": 1.0}
    assert world.client.post("/feed/data", json={"records": [fed]}).status_code == 200
    for written in (name, "gro\u0308\u00dfe/1", f"{name}%20", f"%C2%A0{name}"):
        assert world.client.get(f"/predictions/{written}").status_code == 200, written
    assert world.client.get("/predictions/GR\u00d6\u00dfe/1").status_code == 404
