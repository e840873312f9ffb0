"""The document says what the app answers: its routes, who may use them, and what is validated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET, Struct, UnsetType
from support.web_world import METRICS, World

from nordiq_watch.api.endpoint import Endpoint
from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.api.enums import TimeRange
from nordiq_watch.web.openapi_schemas import describe_structs


class Written(Struct, frozen=True, omit_defaults=True):
    always: str
    left_out: int | None = None
    unset: str | UnsetType | None = UNSET


class Read(Struct, frozen=True):
    inside: tuple[Written, ...]
    later: int | None = None


def document(world: World) -> Any:
    answer = world.client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json


def operations(world: World) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document(world)["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_of_the_api_is_in_it_and_none_of_the_console(world: World) -> None:
    described = set(operations(world))
    inside = {name.replace("<path:", "{").replace("<", "{").replace(">", "}") for name in ENDPOINTS}
    left_out = inside - described
    assert described <= inside
    assert {name.split("/")[1] for name in left_out} == {
        *("", "servers", "models", "system", "view", "charts", "console", "glossary", "sign-in", "sign-out")
    }


def test_it_says_who_may_do_what(world: World) -> None:
    described = operations(world)
    assert described["GET /health"]["security"] == []
    assert described["POST /admin/rollback"]["security"] == [{"key": []}]
    assert "Needs a key of the role admin." in described["POST /admin/rollback"]["description"]
    assert "Needs a key of the role feed." in described["POST /feed/data"]["description"]


def test_every_operation_has_its_own_id_and_words(world: World) -> None:
    described = operations(world)
    assert len({operation["operationId"] for operation in described.values()}) == len(described)
    assert all(operation["summary"] for operation in described.values())


def test_bounds_are_those_that_are_checked(world: World) -> None:
    described = operations(world)
    (limit,) = described["GET /admin/reloads"]["parameters"]
    most = limit["schema"]["maximum"]
    assert world.client.get(f"/admin/reloads?limit={most}").status_code == 200
    assert world.client.get(f"/admin/reloads?limit={most + 1}").status_code == 400
    (span,) = described["GET /historical/summary"]["parameters"]
    assert set(span["schema"]["enum"]) == set(TimeRange)


def test_a_record_has_the_metrics_of_the_config(world: World) -> None:
    record = document(world)["components"]["schemas"]["Record"]
    assert set(METRICS) <= set(record["properties"])
    assert record["required"] == ["timestamp", "server_name"]


def test_a_forecast_has_a_field_for_each_metric_of_the_config(world: World) -> None:
    whole = document(world)
    schemas = whole["components"]["schemas"]
    answer = whole["paths"]["/predictions/current"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    required = {"MetricForecast": ["display_metrics", "profile", "model_version"], "MetricPart": []}
    for kind, metric in zip(answer["anyOf"], required, strict=True):
        fleet = schemas[kind["$ref"].rpartition("/")[2]]
        server = schemas[fleet["properties"]["predictions"]["additionalProperties"]["$ref"].rpartition("/")[2]]
        reference = {"$ref": f"#/components/schemas/{metric}"}
        assert {name: server["properties"][name] for name in METRICS} == dict.fromkeys(METRICS, reference)
        assert server["required"] == required[metric]


def test_every_reference_leads_somewhere(world: World) -> None:
    whole = document(world)

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            yield from ([part["$ref"]] if "$ref" in part else [])
            part = list(part.values())
        if isinstance(part, list):
            for item in part:
                yield from references(item)

    for reference in set(references(whole)):
        assert reference.removeprefix("#/components/schemas/") in whole["components"]["schemas"]


def test_it_is_not_for_strangers(world: World) -> None:
    assert world.stranger.get("/openapi.json").status_code == 401


def test_answers_are_described_as_they_are_written() -> None:
    """A Struct whole, except for what is left out where it is not known; and that is never null."""
    references, schemas = describe_structs([Endpoint(name="GET /x", answer=Read, others={503: (Written,)})])
    assert references[Read] == {"$ref": "#/components/schemas/Read"}
    assert schemas["Read"]["required"] == ["inside", "later"]
    assert schemas["Read"]["properties"]["later"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert schemas["Written"]["required"] == ["always"]
    assert schemas["Written"]["properties"]["left_out"] == {"type": "integer"}
    assert schemas["Written"]["properties"]["unset"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schemas["Failure"]["required"] == ["error", "detail"]


def test_each_status_has_the_schema_of_its_answer(world: World) -> None:
    ready, unpin = operations(world)["GET /ready"]["responses"], operations(world)["POST /admin/unpin"]["responses"]

    def schema_of(response: Any) -> Any:
        return response["content"]["application/json"]["schema"]

    assert schema_of(ready["200"]) == {"$ref": "#/components/schemas/Ready"}
    assert schema_of(ready["401"]) == {"$ref": "#/components/schemas/Failure"}
    assert schema_of(ready["503"])["anyOf"][0] == {"$ref": "#/components/schemas/NotReady"}
    assert schema_of(unpin["401"]) == {"$ref": "#/components/schemas/OrderFailure"}
