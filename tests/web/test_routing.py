from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from support.web_world import World

from nordiq_watch.api import queries
from nordiq_watch.api.endpoints import ENDPOINTS
from nordiq_watch.api.enums import ExportFormat, TimeRange
from nordiq_watch.errors import RequestError
from nordiq_watch.web.routing import read_query

KINDS = sorted({endpoint.query for endpoint in ENDPOINTS.values() if endpoint.query is not None}, key=str)


@pytest.mark.parametrize(
    ("kind", "sent", "expected"),
    [
        (queries.NoQuery, {}, queries.NoQuery()),
        (queries.WaitQuery, {"wait": "FALSE"}, queries.WaitQuery(wait=False)),
        (queries.WaitQuery, {"wait": "1"}, queries.WaitQuery(wait=True)),
        (queries.ReloadQuery, {"model_path": "5"}, queries.ReloadQuery(model_path="5")),
        (queries.ReloadsQuery, {"limit": "1000"}, queries.ReloadsQuery(limit=1000)),
        (queries.PastQuery, {"time_range": "1M"}, queries.PastQuery(TimeRange.MONTH)),
        (queries.ExportQuery, {"format": "csv"}, queries.ExportQuery(format=ExportFormat.CSV)),
        (queries.ExplainQuery, {"step": "0"}, queries.ExplainQuery(step=0)),
        (queries.FleetQuery, {"min_risk": "59.5"}, queries.FleetQuery(min_risk=59.5)),
    ],
)
def test_a_query_becomes_a_value(kind: type[Struct], sent: dict[str, Any], expected: object) -> None:
    assert read_query(kind, {name: [value] for name, value in sent.items()}) == expected


@pytest.mark.parametrize(
    ("kind", "sent", "words"),
    [
        (queries.WaitQuery, {"wait": "yes"}, "wait is 'yes'; must be true or false"),
        (queries.ReloadsQuery, {"limit": "0"}, "limit is '0'; must be a whole number from 1 to 1000"),
        (queries.ReloadsQuery, {"limit": "9" * 5000}, "must be a whole number from 1 to 1000"),
        (queries.ReloadsQuery, {"limit": "٣"}, "limit is '٣'; must be a whole number"),
        (queries.PastQuery, {"time_range": "1y"}, "time_range is '1y'; must be one of 30m, 1h, 8h, 1d, 1w, 1M"),
        (queries.ExportQuery, {"format": "xml"}, "format is 'xml'; must be one of csv, json"),
        (queries.ExplainQuery, {"step": "-1"}, "step is '-1'; must be a whole number from 0 to 999999"),
        (queries.ExplainQuery, {"server": "a"}, "no query parameter 'server'; it takes target, step"),
        (queries.NoQuery, {"": ""}, "no query parameter ''; it takes none"),
    ],
)
def test_what_a_query_cannot_be_is_said_in_words(kind: type[Struct], sent: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=re.escape(words)):
        read_query(kind, {name: [value] for name, value in sent.items()})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_parameter_of_the_api_has_words_for_what_it_may_be(kind: type[Struct]) -> None:
    for field in msgspec.structs.fields(kind):
        free_text = field.type in (str, str | None)
        with nullcontext() if free_text else pytest.raises(RequestError, match=f"^{field.encode_name} is .*; must be "):
            read_query(kind, {field.encode_name: ["\x00"]})


def test_a_parameter_that_stands_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="limit stands 2 times"):
        read_query(queries.ReloadsQuery, {"limit": ["1", "2"]})


def test_an_unknown_parameter_is_a_400_behind_the_guard_and_on_no_page(world: World) -> None:
    refused = world.client.get("/historical/alerts?time_range=8h&server_nam=ppdb001")
    assert refused.status_code == 400
    assert "no query parameter 'server_nam'; it takes time_range" in refused.json["detail"]
    assert world.stranger.get("/admin/models?x=1").status_code == 401
    assert world.stranger.get("/health?x=1").status_code == 400
    assert world.client.get("/sign-in?x=1").status_code == 200
    assert world.client.get("/metrics?name[]=up").status_code == 200
