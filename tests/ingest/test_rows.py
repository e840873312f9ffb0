"""Bodies become rows: which fields are read, and which record is refused for what."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nordiq_watch.api.sources import Drop
from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.ingest import rows as rows_module
from nordiq_watch.ingest.rows import MAX_UNKNOWN_FIELDS, Rejection, Rows, Schema

METRICS = ("cpu_user_pct", "class")  # a metric may have a name that Python keeps for itself


@pytest.fixture
def schema() -> Schema:
    """One that has read nothing yet."""
    return Schema(METRICS)


def record(**fields: Any) -> dict[str, Any]:
    return {"timestamp": 1_738_246_000, "server_name": "ppdb001", **fields}


def body_of(*records: Any) -> bytes:
    return json.dumps({"records": records}).encode()


def names_of(rows: Rows) -> list[str]:
    return [row.server_name for row in rows.records]


def test_the_fields_of_each_record_are_there_under_their_names(schema: Schema) -> None:
    sent = record(status="idle", profile="Database", **{"cpu_user_pct": 25.5, "class": 3})
    rows = schema.read(body_of(sent, record(timestamp="2025-01-30T14:06:40Z")))
    first, second = rows.records
    assert (first.timestamp, first.server_name, first.status, first.profile) == (
        1_738_246_000,
        "ppdb001",
        "idle",
        "Database",
    )
    assert (second.timestamp, second.status, second.profile) == ("2025-01-30T14:06:40Z", None, None)
    np.testing.assert_array_equal(schema.values_of(rows.records), [[25.5, 3.0], [np.nan, np.nan]])
    assert (list(rows.indices), rows.received, rows.rejected) == ([0, 1], 2, ())


def test_an_explicit_null_was_not_measured(schema: Schema) -> None:
    rows = schema.read(body_of(record(cpu_user_pct=None, **{"class": 1.0})))
    np.testing.assert_array_equal(schema.values_of(rows.records), [[np.nan, 1.0]])


def test_values_of_many_records_are_those_of_each(schema: Schema, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = schema.read(body_of(*(record(cpu_user_pct=number) for number in range(11))))
    at_once = schema.values_of(rows.records)
    monkeypatch.setattr(rows_module, "_ROWS_AT_ONCE", 4)
    np.testing.assert_array_equal(schema.values_of(rows.records), at_once)
    assert at_once[:, 0].tolist() == list(range(11))


def test_a_row_that_did_not_come_as_json_is_like_one_that_did(schema: Schema) -> None:
    made = schema.make(server="ppdb001", timestamp=1_738_246_000, values={"class": 3.0, "unknown": 9.0})
    (read,) = schema.read(body_of(record(**{"class": 3.0}))).records
    np.testing.assert_array_equal(schema.values_of([made]), schema.values_of([read]))
    assert (made.timestamp, made.server_name, made.status) == (read.timestamp, read.server_name, read.status)


def test_a_fault_is_named_and_the_records_beside_it_are_kept(schema: Schema) -> None:
    faults: list[Any] = [record(cpu_user_pct="high"), record(server_name=7), {"server_name": "x"}, 5]
    rows = schema.read(body_of(record(server_name="first"), *faults, record(server_name="last")))
    assert names_of(rows) == ["first", "last"]
    assert list(rows.indices) == [0, 5]
    assert [(refused.index, refused.field) for refused in rows.rejected] == [
        (1, "cpu_user_pct"),
        (2, "server_name"),
        (3, "timestamp"),
        (4, "record"),
    ]
    assert (rows.received, rows.unnamed, rows.not_looked_at) == (6, 0, 0)


def test_unknown_fields_are_told_every_time_and_cost_the_slow_way_once(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = body_of(record(zone="b", rack=1), record(rack=2))
    assert schema.read(body).unknown_fields == ("rack", "zone")

    def read_again(*_: object) -> Rows:
        raise AssertionError("it was read record by record again")

    monkeypatch.setattr(Schema, "_read_slowly", read_again)
    again = schema.read(body)
    assert (again.unknown_fields, len(again.records)) == (("rack", "zone"), 2)
    assert schema.read(body_of(record(rack=3))).unknown_fields == ("rack",)
    assert schema.read(body_of(record())).unknown_fields == ()


def test_of_many_unknown_fields_some_are_told_and_none_is_expected(schema: Schema) -> None:
    body = body_of(*(record(**{f"field_{number:04}": 1}) for number in range(MAX_UNKNOWN_FIELDS + 30)))
    for _ in range(2):
        rows = schema.read(body)
        assert rows.unknown_fields == tuple(f"field_{number:04}" for number in range(MAX_UNKNOWN_FIELDS))
        assert len(rows.records) == MAX_UNKNOWN_FIELDS + 30


def test_what_is_no_feed_as_a_whole_is_refused(schema: Schema) -> None:
    for body in (b"", b"[]", b'{"rows": []}', b'{"records": {}}', b'{"records": [}'):
        with pytest.raises(RequestError):
            schema.read(body)


def test_more_records_than_allowed_are_refused_plain_or_not(schema: Schema) -> None:
    three = [record(), record(), record()]
    assert len(schema.read(body_of(*three), most=3).records) == 3
    for records in ([*three, record()], [*three, record(unknown=1)]):
        with pytest.raises(TooManyRecords):
            schema.read(body_of(*records), most=3)


def test_after_many_refusals_and_no_good_record_the_rest_is_not_looked_at(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "MAX_NAMED", 3)
    monkeypatch.setattr("nordiq_watch.json_lists.lists.PIECE_BYTES", 100)
    monkeypatch.setattr("nordiq_watch.json_lists.scan.PIECE_BYTES", 100)
    rows = schema.read(body_of(*(record(cpu_user_pct="high") for _ in range(40))))
    assert names_of(rows) == []
    assert [refused.index for refused in rows.rejected] == [0, 1, 2]
    assert rows.not_looked_at > 30
    assert rows.unnamed == 37


def test_the_refusal_says_what_was_expected(schema: Schema) -> None:
    (refused,) = schema.read(body_of(record(cpu_user_pct="high"))).rejected
    assert refused == Rejection(0, "cpu_user_pct", refused.reason, Drop.NOT_A_NUMBER)
    assert "number" in refused.reason
