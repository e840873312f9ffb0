"""Line protocol at InfluxDB's own routes, from its client, from Telegraf and by hand."""

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import pytest
from support.web_world import FEED_KEY, METRICS, NOW, READ_KEY, ApiResponse, BuildWorld, World

from nordiq_watch.config.schema import FeederSettings, InfluxSettings, SeriesRule

METRIC = METRICS.index("mem_used_pct")
GOOD = "mem,host=web1 available_percent=40,used=7i"
WRITES = ["/write", "/api/v2/write"]


def write(world: World, text: str | bytes, path: str = "/api/v2/write", query: str = "", **headers: str) -> ApiResponse:
    return world.client.post(f"{path}{query}", data=text, headers={"Content-Type": "text/plain", **headers})


def stored(world: World) -> dict[str, float]:
    snapshot = world.services.ingest.window.snapshot()
    return {name: float(values[-1, METRIC]) for name, values in zip(snapshot.servers, snapshot.values, strict=True)}


@pytest.mark.parametrize("path", WRITES)
def test_what_is_taken_is_204(world: World, path: str) -> None:
    answer = write(world, f"{GOOD} {int(NOW)}000000000\nmem,host=web2 available_percent=10\n", path)
    assert (answer.status_code, answer.data) == (204, b"")
    assert stored(world) == {"web1": 60.0, "web2": 90.0}


@pytest.mark.parametrize(
    ("query", "time"),
    [
        ("?db=telegraf&rp=&consistency=any&precision=ns", int(NOW) * 10**9),
        ("?org=o&bucket=b&precision=s", int(NOW)),
        ("?precision=ms", int(NOW) * 1000),
        ("?precision=%C2%B5s", int(NOW) * 10**6),
        ("?precision=u", int(NOW) * 10**6),
        ("?orgID=1", int(NOW) * 10**9),
    ],
)
def test_the_parameters_of_both_versions_are_known(world: World, query: str, time: int) -> None:
    assert write(world, f"{GOOD} {time}", query=query).status_code == 204
    assert stored(world) == {"web1": 60.0}


def test_gzip_is_unpacked(world: World) -> None:
    assert write(world, gzip.compress(GOOD.encode()), **{"Content-Encoding": "gzip"}).status_code == 204


def test_what_no_rule_knows_is_no_fault(world: World) -> None:
    assert write(world, 'redis,host=web1 clients=3i,mode="x"\n# a comment\n').status_code == 204
    assert write(world, "").status_code == 204


@pytest.mark.parametrize("path", WRITES)
def test_a_bad_line_is_named_and_the_others_are_taken(world: World, path: str) -> None:
    answer = write(world, f"{GOOD}\n\nmem,host=web2\nmem,host=web3 available_percent=20\nmem x=many", path)
    assert answer.status_code == 200
    assert answer.json["error"] == answer.json["message"]
    assert answer.json["message"].startswith("partial write: 2 lines were not taken, the first is line 3: it has no")
    assert answer.json["message"].endswith("dropped=2")
    assert stored(world) == {"web1": 60.0, "web3": 80.0}


def test_samples_that_can_never_be_taken_are_a_partial_write_too(world: World) -> None:
    answer = write(world, f"{GOOD}\n{GOOD.replace('web1', 'web2')} {int(NOW) + 86_400}000000000")
    assert answer.status_code == 200
    assert answer.json["message"].startswith("partial write: 1 samples were not taken; of the first, timestamp")
    assert stored(world) == {"web1": 60.0}


def test_lines_without_a_host_name_the_setting(world: World) -> None:
    answer = write(world, f"mem available_percent=40\n{GOOD}")
    assert answer.status_code == 200
    assert "feeders.influx" in answer.json["message"]
    assert stored(world) == {"web1": 60.0}


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    ("query", "body", "headers", "status", "said"),
    [
        (
            "?precision=fortnight",
            GOOD,
            {},
            400,
            "unable to parse: Bad request: precision is 'fortnight'; must be",
        ),
        ("?color=red", GOOD, {}, 400, "no query parameter 'color'"),
        ("?u=admin&p=secret", GOOD, {}, 400, "Authorization: Token KEY"),
        ("", b"no gzip", {"Content-Encoding": "gzip"}, 200, "unable to parse: Bad request: Content-Encoding says gzip"),
        ("", GOOD, {"Content-Encoding": "br"}, 200, "unable to parse: "),
        ("", GOOD, {"X-API-Key": "wrong"}, 401, "Unauthorized"),
        ("", GOOD, {"X-API-Key": READ_KEY}, 403, "Forbidden"),
    ],
)
def test_failures_are_in_the_form_of_both_versions(
    world: World, path: str, query: str, body: str | bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answer = write(world, body, path, query, **headers)
    assert answer.status_code == status
    assert set(answer.json) == {"code", "message", "error"}
    assert said in answer.json["message"]
    assert "secret" not in answer.text


def test_a_key_in_the_url_is_told_even_without_one_in_a_header(world: World) -> None:
    answer = world.stranger.post(f"/write?u=admin&p={FEED_KEY}", data=GOOD)
    assert (answer.status_code, "Authorization: Token KEY" in answer.json["error"]) == (400, True)


@pytest.mark.parametrize("path", WRITES)
def test_too_much_is_dropped_and_counted(build_world: BuildWorld, path: str) -> None:
    world = build_world(feeders=FeederSettings(max_records=3))
    answer = write(world, f"{GOOD}\n" * 4, path)
    assert (answer.status_code, answer.json["code"]) == (200, "invalid")
    assert answer.json["error"].startswith("unable to parse: Too many records")
    assert f'refused_total{{reason="records",route="{path}"}} 1.0' in world.client.get("/metrics").text


def test_what_cannot_be_taken_now_is_sent_again(world: World, tmp_path: Path) -> None:
    state, away = tmp_path / "state", tmp_path / "away"
    assert write(world, f"{GOOD} {int(NOW) - 300}000000000").status_code == 204
    state.rename(away)
    state.touch()  # nothing can be written there
    answer = write(world, f"{GOOD}\nmem x=bad")
    assert (answer.status_code, answer.json["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
    state.unlink()
    away.rename(state)
    assert write(world, GOOD).status_code == 204
    assert stored(world) == {"web1": 60.0}


# --- keys ---


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("value", [f"Token {FEED_KEY}", f"Bearer {FEED_KEY}", basic("telegraf", FEED_KEY)])
@pytest.mark.parametrize("path", WRITES)
def test_the_key_comes_as_influxdb_s_clients_send_it(world: World, path: str, value: str) -> None:
    assert world.stranger.post(path, data=GOOD, headers={"Authorization": value}).status_code == 204
    assert world.stranger.get("/ping", headers={"Authorization": value}).status_code == 204
    create = {"data": {"q": 'CREATE DATABASE "telegraf"'}, "headers": {"Authorization": value}}
    assert world.stranger.post("/query", **create).json == {"results": []}


def test_elsewhere_a_password_is_no_key(world: World) -> None:
    """A browser sends a password that it knows by itself, whatever page made the request."""
    for path in ("/admin/models", "/predictions/current"):
        assert world.stranger.get(path, headers={"Authorization": basic("a", READ_KEY)}).status_code == 401
    assert world.stranger.post(WRITES[0], data=GOOD, headers={"Authorization": basic(FEED_KEY, "a")}).status_code == 401


def test_clients_that_look_find_something(world: World) -> None:
    assert (world.client.get("/ping").status_code, world.client.get("/ping?verbose=true").status_code) == (204, 204)
    assert world.client.open("/ping", method="HEAD").status_code == 204
    assert world.stranger.get("/ping").status_code == 401


def test_other_queries_are_refused_with_words(world: World) -> None:
    answer = world.client.post("/query", data={"q": "SHOW DATABASES"})
    assert (answer.status_code, "no queries" in answer.json["error"]) == (400, True)


def test_rules_and_the_tag_of_the_server_are_settings(build_world: BuildWorld) -> None:
    rules = {"mem_used_pct": SeriesRule(value="memory_used")}
    world = build_world(feeders=FeederSettings(influx=InfluxSettings(server_label="node", metrics=rules)))  # type: ignore[arg-type]
    assert write(world, "memory,node=n1 used=12").status_code == 204
    assert stored(world) == {"n1": 12.0}
