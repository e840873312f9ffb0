"""The forecast as a table: what it says is what the JSON says."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import make_columns
from support.eager_answer import describe_servers
from support.random_fleets import METRICS, fleets
from support.web_world import World, make_answer

from nordiq_watch.api.enums import TABLES, Media
from nordiq_watch.live.columns import FleetColumns
from nordiq_watch.live.entries import FIELDS, METRIC_FIELDS, Detail
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.selection import Selection, turn_to

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

Row = dict[str, Any]


def read_table(body: bytes, media: Media) -> Any:
    if media is Media.PARQUET:
        from pyarrow import parquet

        return parquet.read_table(io.BytesIO(body))
    return pyarrow.ipc.open_stream(io.BytesIO(body)).read_all()


def rows_of(columns: FleetColumns, detail: Detail) -> list[Row]:
    """From the dictionaries of the JSON."""
    rows: list[Row] = []
    for name, entry in describe_servers(columns).items():
        facts = {name: entry[name] for name in ("profile", "model_version")} | {
            "labels": entry.get("labels"),
            "risk_score": entry.get("risk_score"),
        }
        facts["level"] = (entry.get("alert") or {}).get("level")
        kept = {column: value for column, value in facts.items() if FIELD_OF.get(column, column) in detail.fields}
        if not detail.fields & set(METRIC_FIELDS):
            rows.append({"server_name": name, **kept})
            continue
        for metric in METRICS:
            told = {field: value for field, value in entry.get(metric, {}).items() if field in detail.fields}
            if told and detail.has(metric):
                blank = {field: None for field in METRIC_FIELDS if field in detail.fields}
                rows.append({"server_name": name, "metric": metric, **blank, **told, **kept})
    return rows


FIELD_OF = {"level": "alert"}


def plain(row: Row) -> Row:
    """Numbers as Python's own, NaN as None."""
    return {name: plain_value(value) for name, value in row.items()}


def plain_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return list(value.items())  # pyarrow's own form of a map
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(value)
    return value if value is None else str(value)


@given(
    fleets(),
    st.none() | st.frozensets(st.sampled_from(METRICS)),
    st.frozensets(st.sampled_from(FIELDS), min_size=1),
    st.sampled_from(TABLES),
)
def test_a_table_has_a_row_for_each_metric_of_the_json(
    columns: FleetColumns, metrics: frozenset[str] | None, fields: frozenset[str], media: Media
) -> None:
    from nordiq_watch.web.arrow_tables import write_table

    answer = Answer(columns=columns, metadata=None, model=None)
    selection = Selection(detail=Detail(metrics=metrics, fields=fields))
    body = b"".join(write_table(answer, selection, turn_to(answer, selection), media=media))
    table = read_table(body, media)
    assert table.validate(full=True) is None
    assert table.to_pylist() == [plain(row) for row in rows_of(columns, selection.detail)]


@pytest.mark.parametrize("media", TABLES)
def test_who_prefers_a_table_gets_it(world: World, media: Media) -> None:
    wanted = {"Accept": media}
    columns = make_columns([f"s{number}" for number in range(5000)], scores=[61.0] * 5000)
    answer = make_answer(columns=columns)
    world.show(answer)
    response = world.client.get("/predictions/current?limit=4500&fields=p50,alert", headers=wanted, buffered=True)
    assert (response.status_code, response.mimetype) == (200, media)
    assert response.headers["ETag"] != answer.etag
    assert response.headers["X-Model-Generation"] == "1"
    assert ("Content-Disposition" in response.headers) == (media is Media.PARQUET)
    table = read_table(response.data, media)
    assert table.column_names == ["server_name", "metric", "p50", "level"]
    assert table.num_rows == 4500
    assert table.slice(4499).to_pylist() == [
        {"server_name": "s4499", "metric": "cpu_user_pct", "p50": [25.0, 26.0], "level": "warning"}
    ]
    told = json.loads(table.schema.metadata[b"nordiq_watch"])
    assert (told["matched"], told["metadata"]["model_generation"]) == (5000, 1)
    query = {"limit": 4500, "fields": "p50,alert", "cursor": told["next_cursor"]}
    rest = world.client.get("/predictions/current", query_string=query, headers=wanted, buffered=True)
    assert read_table(rest.data, media).num_rows == 500
    known = {"Accept": media, "If-None-Match": response.headers["ETag"]}
    assert world.client.get("/predictions/current", headers=known).status_code == 304
    as_json = world.client.get("/predictions/current", headers={"If-None-Match": response.headers["ETag"]})
    assert as_json.status_code == 200, "the client has the table, not this"


@pytest.mark.parametrize("accepted", ["*/*", "text/html", f"{Media.ARROW};q=0.5, */*", "application/json"])
def test_everyone_else_gets_json(world: World, accepted: str) -> None:
    world.show(make_answer())
    response = world.client.get("/predictions/current", headers={"Accept": accepted})
    assert response.mimetype == Media.JSON


@pytest.mark.parametrize("media", TABLES)
def test_without_a_model_the_table_is_empty_and_says_why(world: World, media: Media) -> None:
    response = world.client.get("/predictions/current", headers={"Accept": media})
    table = read_table(response.data, media)
    assert table.num_rows == 0
    assert json.loads(table.schema.metadata[b"nordiq_watch"])["error"] == "no_model"


@pytest.mark.parametrize("media", TABLES)
def test_without_pyarrow_it_is_a_406_in_json(world: World, media: Media, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nordiq_watch.web.arrow_tables", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    response = world.client.get("/predictions/current", headers={"Accept": media})
    assert (response.status_code, response.json["error"]) == (406, "Not acceptable")
    assert "pip install 'nordiq-watch[arrow]'" in response.json["detail"]


def test_writing_a_table_does_not_import_pandas() -> None:
    script = """
import sys
from support.columns import make_columns
from nordiq_watch.api.enums import TABLES
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.selection import Selection, turn_to
from nordiq_watch.web.arrow_tables import write_table
answer = Answer(columns=make_columns(["a"], scores=[1.0], labels=[{"team": "web"}]), metadata=None, model=None)
for media in TABLES:
    assert b"".join(write_table(answer, Selection(), turn_to(answer, Selection()), media=media))
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": ":".join(sys.path)}, check=True, timeout=60)
