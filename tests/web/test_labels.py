"""Labels of servers: from records and series, in answers, as filters and groups."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from support.columns import make_columns
from support.remote_write import V1_HEADERS, Sent, pack, write_v1
from support.web_world import NOW, ApiResponse, BuildWorld, World, make_answer

from nordiq_watch.api.enums import Media
from nordiq_watch.config.schema import FeederSettings, WindowSettings
from nordiq_watch.labels import MOST_LABELS

ROOM = WindowSettings(length=4, max_servers=100, silent_seconds=300)


def feed(world: World, *records: dict[str, Any]) -> ApiResponse:
    return world.client.post("/feed/data", json={"records": list(records)})


def record(server: str = "web1", *, at: float = NOW, **fields: Any) -> dict[str, Any]:
    return {"timestamp": at, "server_name": server, "cpu_user_pct": 5.0, **fields}


def labels_of(world: World, server: str = "web1") -> dict[str, str]:
    (found,) = world.client.get("/servers", query_string={"servers": server}).json["servers"]
    labels: dict[str, str] = found["labels"]
    return labels


def test_records_give_labels_and_the_newest_counts(world: World) -> None:
    late = record(at=NOW - 300, labels={"team": "db", "rack": "7"})
    answer = feed(world, record(labels={"team": "web"}), late, record("web2"))
    assert answer.json.get("rejected") is None
    assert answer.json.get("unknown_fields") is None
    assert labels_of(world) == {"team": "web", "rack": "7"}
    assert labels_of(world, "web2") == {}
    feed(world, record(labels={"rack": ""}))
    assert labels_of(world) == {"team": "web"}


def test_labels_survive_a_restart(build_world: BuildWorld) -> None:
    feed(build_world(), record(labels={"team": "web"}))
    again = build_world()
    feed(again, record())
    assert labels_of(again) == {"team": "web"}


def test_a_forgotten_server_s_labels_are_forgotten(world: World) -> None:
    feed(world, record(labels={"team": "web"}))
    world.client.delete("/servers/web1")
    feed(world, record())
    assert labels_of(world) == {}


@pytest.mark.parametrize(
    ("labels", "field", "reason"),
    [
        ({"team": "web", "a b": "x"}, "labels.a b", "has a name other than"),
        ({"team": "web", "n": 3}, "labels.n", "is not a text"),
        ({"team": "web", "n": None}, "labels.n", "is not a text"),
        ({"team": "web", "n": "x" * 129}, "labels.n", "has 129 characters"),
        ({"team": "web", "n": {"deep": "x"}}, "labels.n", "is not a text"),
    ],
)
def test_a_bad_label_costs_itself_alone_and_is_counted(
    world: World, labels: dict[str, Any], field: str, reason: str
) -> None:
    answer = feed(world, record(labels=labels), record("web2", labels=["team"]))
    assert answer.status_code == 200
    first, second = answer.json["rejected"]
    assert (first["index"], first["field"]) == (0, field)
    assert reason in first["reason"]
    assert (second["index"], second["field"]) == (1, "labels")
    assert "an object of texts" in second["reason"]
    assert answer.json["values_left_out"] == 2
    assert labels_of(world) == {"team": "web"}
    assert labels_of(world, "web2") == {}
    (source,) = world.client.get("/feed/sources").json["sources"]
    assert [(drop["reason"], drop["count"]) for drop in source["dropped"]] == [("bad_label", 2)]


def test_a_record_with_a_fault_beside_its_labels_still_gives_them(world: World) -> None:
    feed(world, record(labels={"team": "web"}, mem_used_pct="much"), record("web2", labels={"team": "db"}, extra=1))
    assert (labels_of(world), labels_of(world, "web2")) == ({"team": "web"}, {"team": "db"})
    feed(world, record("web3"), record(cpu_user_pct=None, labels={"team": "none"}))
    assert labels_of(world) == {"team": "web"}, "a record that is not taken gives nothing"


def test_no_more_than_so_many(world: World) -> None:
    many = {f"l{number}": "x" for number in range(MOST_LABELS + 2)}
    answer = feed(world, record(labels=many))
    assert len(labels_of(world)) == MOST_LABELS
    assert [one["reason"] for one in answer.json["rejected"]] == [f"is one of more than {MOST_LABELS}"] * 2
    feed(world, record(labels={"more": "x"}))
    assert "more" not in labels_of(world)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("team", "web")], None], pa.map_(pa.string(), pa.string())),
        pa.array([{"team": "web", "env": None}, None]),
        pa.array(['{"team": "web"}', None]),
    ],
    ids=["map", "struct", "JSON"],
)
def test_arrow_has_them_as_a_map_a_struct_or_json(world: World, column: Any) -> None:
    table = pa.table(
        {"timestamp": [NOW, NOW], "server_name": ["web1", "web2"], "cpu_user_pct": [1.0, 2.0], "labels": column}
    )
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    answer = world.client.post("/feed/data", data=sink.getvalue(), headers={"Content-Type": str(Media.ARROW)})
    assert answer.json.get("rejected") is None
    assert (labels_of(world), labels_of(world, "web2")) == ({"team": "web"}, {})


def test_series_give_those_that_the_config_lists(build_world: BuildWorld) -> None:
    series = {"__name__": "node_load1", "instance": "web1:9100", "team": "web", "env": "x" * 200, "rack": "7"}
    world = build_world(
        feeders=FeederSettings(labels=("team", "env")), window=ROOM, metrics=("cpu_user_pct", "load_average")
    )
    body = pack(write_v1([Sent(series, [(NOW, 0.5)])]))
    answer = world.client.post("/feed/prometheus", data=body, headers=V1_HEADERS)
    assert answer.status_code == 200, answer.json
    assert labels_of(world) == {"team": "web"}
    (source,) = world.client.get("/feed/sources").json["sources"]
    assert ("bad_label", 1) in [(drop["reason"], drop["count"]) for drop in source["dropped"]]


def test_servers_are_selected_and_grouped_by_label(build_world: BuildWorld) -> None:
    world = build_world(window=ROOM)
    feed(
        world,
        record("a", labels={"team": "web", "env": "prod"}),
        record("b", labels={"team": "web", "env": "test"}),
        record("c", labels={"team": "db", "env": "prod"}),
        record("d"),
    )

    def ask(**query: str) -> Any:
        answer = world.client.get("/servers", query_string=query)
        assert answer.status_code == 200, answer.json
        return answer.json

    def names(**query: str) -> list[str]:
        return [server["server_name"] for server in ask(**query)["servers"]]

    assert names(label="team:web") == ["a", "b"]
    assert names(label="team:web,env:prod") == ["a"]
    assert names(label="team:web,team:db") == ["a", "b", "c"]
    assert names(label="team:ops") == []
    groups = ask(group="label:team", limit="1")["groups"]
    assert [(one["value"], one["servers"], one["states"]) for one in groups] == [
        ("web", 2, {"live": 2}),
        ("db", 1, {"live": 1}),
        (None, 1, {"live": 1}),
    ]
    assert [one["value"] for one in ask(group="profile")["groups"]] == ["Generic"]
    for query, words in (
        ({"label": "team"}, "label has 'team', which is not NAME:VALUE"),
        ({"group": "x"}, "group is"),
    ):
        answer = world.client.get("/servers", query_string=query)
        assert answer.status_code == 400
        assert words in answer.json["detail"]


LABELS: Sequence[dict[str, str]] = ({"team": "web", "env": "prod"}, {"team": "db"}, {})


def test_forecasts_carry_labels_and_are_selected_by_them(world: World) -> None:
    world.show(make_answer(columns=make_columns(("a", "b", "c"), labels=LABELS)))
    whole = world.client.get("/predictions/current").json["predictions"]
    assert [entry.get("labels") for entry in whole.values()] == [{"team": "web", "env": "prod"}, {"team": "db"}, None]

    def names(label: str) -> list[str]:
        return list(world.client.get("/predictions/current", query_string={"label": label}).json["predictions"])

    assert names("team:web") == ["a"]
    assert names("team:web,team:db") == ["a", "b"]
    assert names("team:db,env:prod") == []
    assert world.client.get("/predictions/current?label=team").status_code == 400
    part = world.client.get("/predictions/current?label=team:db&fields=labels").json["predictions"]
    assert part == {"b": {"labels": {"team": "db"}}}
