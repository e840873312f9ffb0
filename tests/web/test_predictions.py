from __future__ import annotations

import gzip
import json

import pytest
from support.web_world import NOW, VERSION, make_answer

from nordiq_watch.events import BatchAccepted


def publish(world, **changes):
    answer = make_answer(**changes)
    world.services.board.publish(answer)
    return answer


def test_the_bytes_of_the_board_are_handed_out(world):
    answer = publish(world)
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": "identity"})
    assert response.status_code == 200
    assert response.data == answer.body
    assert response.mimetype == "application/json"
    assert response.headers["ETag"] == answer.etag
    assert response.headers["X-Model-Version"] == VERSION
    assert response.headers["X-Model-Generation"] == "1"
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*"])
def test_who_takes_gzip_gets_it(world, accepted):
    answer = publish(world)
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": accepted})
    assert response.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(response.data) == answer.body


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0"])
def test_who_does_not_take_gzip_does_not_get_it(world, accepted):
    answer = publish(world)
    response = world.client.get("/predictions/current", headers={"Accept-Encoding": accepted})
    assert response.data == answer.body


def test_who_has_the_answer_gets_304_until_there_is_a_new_one(world):
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


def test_the_headers_are_of_the_answer_that_is_sent_not_of_the_model_that_is_live(world):
    publish(world, generation=1)
    world.put_live("tft_model_20250131_000000", generation=2)
    response = world.client.get("/predictions/current")
    assert response.headers["X-Model-Version"] == VERSION
    assert response.headers["X-Model-Generation"] == "1"


def test_without_a_model_the_answer_says_so_with_200_and_without_model_headers(world):
    response = world.client.get("/predictions/current")
    assert response.status_code == 200
    assert response.json["error"] == "no_model"
    assert response.json["predictions"] == {}
    assert "X-Model-Version" not in response.headers


def test_one_server_alone(world):
    answer = publish(world, servers=("ppdb001", "ppml001"))
    response = world.client.get("/predictions/ppml001")
    assert response.status_code == 200
    assert list(response.json["predictions"]) == ["ppml001"]
    assert response.json["metadata"] == json.loads(answer.body)["metadata"]
    assert response.headers["X-Model-Version"] == VERSION
    again = world.client.get("/predictions/ppml001", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("name", ["rack/7", "mit leer", "größe"])
def test_a_servers_name_may_be_any_text(world, name):
    publish(world, servers=(name,))
    assert list(world.client.get(f"/predictions/{name}").json["predictions"]) == [name]


def test_an_unknown_server_is_404(world):
    publish(world)
    response = world.client.get("/predictions/ppxx999")
    assert response.status_code == 404
    assert response.json["error"] == "Not found"
    assert "'ppxx999'" in response.json["detail"]


def test_a_server_that_is_not_ready_yet_says_what_it_lacks(world):
    publish(world, cold={"ppml001": "ppml001 has 1 of 2 samples."})
    response = world.client.get("/predictions/ppml001")
    assert response.status_code == 200
    assert response.json["error"] == "insufficient_data"
    assert response.json["message"] == "ppml001 has 1 of 2 samples."
    assert response.json["predictions"] == {}


def fed_with(world, *servers):
    records = [{"timestamp": world.services.clock(), "server_name": name, "cpu_user_pct": 1} for name in servers]
    assert world.client.post("/feed/data", json={"records": records}).status_code == 200


def test_a_server_that_sends_while_no_model_is_live_is_known(world):
    fed_with(world, "ppdb001")
    response = world.client.get("/predictions/ppdb001")
    assert (response.status_code, response.json["error"]) == (200, "no_model")
    assert world.client.get("/predictions/ppdb002").status_code == 404


def test_a_server_that_went_silent_is_known(world):
    fed_with(world, "ppdb001")
    publish(world, servers=("ppml001",))
    response = world.client.get("/predictions/ppdb001")
    assert (response.status_code, response.json["error"]) == (200, "insufficient_data")
    assert response.json["message"] == "ppdb001 has gone silent."
    assert response.json["predictions"] == {}


def test_asking_computes_and_changes_nothing(world):
    heard: list[object] = []
    world.services.events.subscribe(BatchAccepted, heard.append)
    before = world.services.board.peek()
    world.client.get("/predictions/current")
    assert world.services.board.peek() is before
    assert heard == []


def test_a_server_is_found_by_each_way_of_writing_its_name(world):
    name = "gr\u00f6\u00dfe/1"
    fed = {"timestamp": NOW, "server_name": name, "cpu_user_pct": 1.0}
    assert world.client.post("/feed/data", json={"records": [fed]}).status_code == 200
    for written in (name, "gro\u0308\u00dfe/1", f"{name}%20", f"%C2%A0{name}"):
        assert world.client.get(f"/predictions/{written}").status_code == 200, written
    assert world.client.get("/predictions/GR\u00d6\u00dfe/1").status_code == 404
