"""The document says what the app answers: its routes, who may use them, and what is validated."""

from __future__ import annotations

from support.web_world import METRICS

from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.api.enums import TimeRange


def document(world):
    answer = world.client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json


def operations(world):
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document(world)["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_of_the_api_is_in_it_and_none_of_the_console(world):
    described = set(operations(world))
    inside = {name.replace("<path:", "{").replace("<", "{").replace(">", "}") for name in ENDPOINTS}
    left_out = inside - described
    assert described <= inside
    assert {name.split("/")[1] for name in left_out} == {
        *("", "servers", "models", "system", "view", "charts", "console", "sign-in", "sign-out")
    }


def test_it_says_who_may_do_what(world):
    described = operations(world)
    assert described["GET /health"]["security"] == []
    assert described["POST /admin/rollback"]["security"] == [{"key": []}]
    assert "Needs a key of the role admin." in described["POST /admin/rollback"]["description"]
    assert "Needs a key of the role feed." in described["POST /feed/data"]["description"]


def test_every_operation_has_its_own_id_and_words(world):
    described = operations(world)
    assert len({operation["operationId"] for operation in described.values()}) == len(described)
    assert all(operation["summary"] for operation in described.values())


def test_bounds_are_those_that_are_checked(world):
    described = operations(world)
    (limit,) = described["GET /admin/reloads"]["parameters"]
    most = limit["schema"]["maximum"]
    assert world.client.get(f"/admin/reloads?limit={most}").status_code == 200
    assert world.client.get(f"/admin/reloads?limit={most + 1}").status_code == 400
    (span,) = described["GET /historical/summary"]["parameters"]
    assert set(span["schema"]["enum"]) == set(TimeRange)


def test_a_record_has_the_metrics_of_the_config(world):
    record = document(world)["components"]["schemas"]["Record"]
    assert set(METRICS) <= set(record["properties"])
    assert record["required"] == ["timestamp", "server_name"]


def test_every_reference_leads_somewhere(world):
    whole = document(world)

    def references(part):
        if isinstance(part, dict):
            yield from ([part["$ref"]] if "$ref" in part else [])
            part = list(part.values())
        if isinstance(part, list):
            for item in part:
                yield from references(item)

    for reference in set(references(whole)):
        assert reference.removeprefix("#/components/schemas/") in whole["components"]["schemas"]


def test_it_is_not_for_strangers(world):
    assert world.stranger.get("/openapi.json").status_code == 401
