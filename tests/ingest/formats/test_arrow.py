"""Arrow's stream format comes to what the same records come to as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.feed_records import NOW, RULES, SLOT, read, reader_of

from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.ingest.formats.arrow import read_arrow
from nordiq_watch.ingest.samples import ParsedFeed

STAMP = datetime.fromtimestamp(SLOT * 300, UTC)


def stream_of(table: Any, *, rows: int | None = None, **options: Any) -> bytes:
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def table_of(**columns: Any) -> Any:
    """Two good rows, with these columns in the place of theirs."""
    return pa.table({"timestamp": [STAMP, STAMP], "server_name": ["a", "b"], "cpu_user_pct": [25.3, 7.0]} | columns)


def feed(body: bytes) -> ParsedFeed:
    return reader_of(RULES.metrics).judge(read_arrow(body, RULES.metrics, most=100), RULES, now=NOW)


def feed_table(**columns: Any) -> ParsedFeed:
    return feed(stream_of(table_of(**columns)))


def reasons(parsed: ParsedFeed) -> list[tuple[int, str, str]]:
    return [(found.index, found.field, found.reason) for found in parsed.rejected]


def test_a_stream_comes_to_what_its_records_come_to_as_json() -> None:
    records: list[dict[str, Any]] = [
        {"timestamp": "2025-01-15T10:00:00", "server_name": " a", "status": "idle", "cpu_user_pct": 104.0},
        {"timestamp": "2025-01-15T10:00:00Z", "server_name": "b", "profile": "Database", "load_average": 3.5},
        {"timestamp": "2025-01-15T09:55:00", "server_name": "a", "cpu_user_pct": 500.0, "odd": 1},
        {"timestamp": "2025-01-15T09:55:00", "server_name": None, "cpu_user_pct": 5.0},
        {"timestamp": "yesterday", "server_name": "c", "cpu_user_pct": 5.0},
        {"timestamp": "2025-01-15T09:55:00", "server_name": "d"},
    ]
    as_json = read(json.dumps({"records": records}).encode())
    for rows in (None, 2):
        as_arrow = feed(stream_of(pa.Table.from_pylist(records, schema=schema_of()), rows=rows))
        assert as_arrow.batch is not None
        assert as_json.batch is not None
        for name in ("received", "rejected", "clipped", "unknown_fields", "indices", "unnamed"):
            assert getattr(as_arrow, name) == getattr(as_json, name), name
        assert (as_arrow.batch.servers, as_arrow.batch.profiles) == (as_json.batch.servers, as_json.batch.profiles)
        for name in ("rows", "slots", "statuses", "values"):
            np.testing.assert_array_equal(getattr(as_arrow.batch, name), getattr(as_json.batch, name))


def schema_of() -> Any:
    texts = ("timestamp", "server_name", "status", "profile")
    numbers = ("cpu_user_pct", "load_average", "odd")
    return pa.schema([*((name, pa.string()) for name in texts), *((name, pa.float64()) for name in numbers)])


@pytest.mark.parametrize(
    "times",
    [
        *(pa.array([STAMP, STAMP], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        pa.array([STAMP, STAMP], pa.timestamp("us", tz="Europe/Stockholm")),
        pa.array([SLOT * 300, SLOT * 300]),
        pa.array([SLOT * 300 + 0.5, SLOT * 300.0]),
        pa.array(["2025-01-15T11:00:00+01:00", "2025-01-15T10:00:00"], pa.large_string()),
        pa.array(["2025-01-15T10:00:00", "2025-01-15T10:00:00"]).dictionary_encode(),
        pa.array([SLOT * 300 * 10**9 + 299_999_999_999, SLOT * 300 * 10**9]).cast(pa.timestamp("ns")),
    ],
    ids=lambda times: str(times.type),
)
def test_times_may_have_these_types(times: Any) -> None:
    parsed = reader_of(RULES.metrics).judge(
        read_arrow(stream_of(table_of(timestamp=times)), RULES.metrics, most=2), RULES, now=NOW + 200
    )
    assert reasons(parsed) == []
    assert parsed.batch is not None
    assert parsed.batch.slots.tolist() == [SLOT, SLOT]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.float16(), pa.int8(), pa.uint64()], ids=str)
def test_metrics_may_have_any_type_of_number(kind: Any) -> None:
    values = pa.array(np.array([3, 4], dtype=kind.to_pandas_dtype()))
    parsed = feed_table(cpu_user_pct=values, mem_used_pct=pa.array([None, 2], pa.int32()))
    assert parsed.batch is not None
    np.testing.assert_array_equal(parsed.batch.values, [[3, np.nan, np.nan], [4, 2, np.nan]])


def test_labels_may_be_dictionaries_with_nulls() -> None:
    parsed = feed_table(
        status=pa.array(["idle", None]).dictionary_encode(), server_name=pa.array(["a", "a"]).dictionary_encode()
    )
    assert parsed.batch is not None
    assert parsed.batch.servers == ("a",)
    assert len(set(parsed.batch.statuses.tolist())) == 2


@pytest.mark.parametrize("field", ["server_name", "timestamp"])
def test_a_dictionary_may_have_the_null_in_itself(field: str) -> None:
    texts = pa.array(["2025-01-15T10:00:00", None])
    parsed = feed_table(**{field: pa.DictionaryArray.from_arrays(pa.array([0, 1]), texts)})
    assert parsed.indices == (0,)
    ((index, found, reason),) = reasons(parsed)
    assert (index, found) == (1, field)
    assert "is missing" in reason


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"cpu_user_pct": [1.0, float("nan")]}, ("cpu_user_pct", "is NaN; must be a number from 0 to 100")),
        ({"cpu_user_pct": [1.0, 500.0]}, ("cpu_user_pct", "is 500; must be a number from 0 to 100")),
        ({"cpu_user_pct": [1.0, float("inf")]}, ("cpu_user_pct", "is Infinity; must be")),
        ({"cpu_user_pct": [1.0, None]}, ("metrics", "none was measured")),
        (
            {"cpu_user_pct": [1.0, None], "mem_used_pct": [None, "7"]},
            ("mem_used_pct", "is of Arrow's type string; must be a number from 0 to 100"),
        ),
        (
            {"cpu_user_pct": [1.0, None], "mem_used_pct": [None, True]},
            ("mem_used_pct", "is of Arrow's type bool; must be a number"),
        ),
        (
            {"cpu_user_pct": [1.0, None], "mem_used_pct": [None, [1]]},
            ("mem_used_pct", "is of Arrow's type list<item: int64>; must be a number"),
        ),
        ({"server_name": ["a", None]}, ("server_name", "is missing; must be a text")),
        ({"server_name": ["a", ""]}, ("server_name", "must be a text that is not empty")),
        ({"timestamp": [STAMP, None]}, ("timestamp", "is missing; must be ISO 8601 or Unix seconds")),
        ({"timestamp": [NOW, float("nan")]}, ("timestamp", "is NaN; must be a time since 1970")),
        ({"timestamp": [NOW, 1e18]}, ("timestamp", "Unix times must be in seconds")),
        ({"status": [None, 3]}, ("status", "is of Arrow's type int64; must be a text")),
        ({"profile": [None, "x" * 65]}, ("profile", "has 65 characters")),
    ],
)
def test_a_bad_row_costs_itself_alone(columns: dict[str, Any], fault: tuple[str, str]) -> None:
    parsed = feed_table(**columns)
    assert parsed.indices == (0,)
    ((index, field, reason),) = reasons(parsed)
    assert (index, field) == (1, fault[0])
    assert fault[1] in reason


@pytest.mark.parametrize("bad", [[None, "7"], [None, [1]], [7.0, float("nan")], [7.0, 500.0], [7.0, -1.0]])
def test_a_bad_value_costs_itself_alone(bad: list[Any]) -> None:
    parsed = feed_table(mem_used_pct=bad)
    assert parsed.batch is not None
    assert (parsed.indices, parsed.values_left_out) == ((0, 1), 1)
    assert [(index, field) for index, field, _ in reasons(parsed)] == [(1, "mem_used_pct")]
    assert np.isnan(parsed.batch.values[1, 1])


@pytest.mark.parametrize("gone", ["timestamp", "server_name"])
def test_without_a_needed_column_every_row_is_refused(gone: str) -> None:
    parsed = feed(stream_of(table_of().drop_columns([gone])))
    assert parsed.batch is None
    assert [(index, field) for index, field, _ in reasons(parsed)] == [(0, gone), (1, gone)]


def test_an_empty_stream_is_an_empty_batch() -> None:
    assert feed(stream_of(table_of().slice(0, 0))) == ParsedFeed(None, 0, (), 0, ())


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("is_dictionary", [False, True])
def test_compressed_buffers_are_refused(codec: str, is_dictionary: bool) -> None:
    names = pa.array(["a" * 200, "b" * 200])
    table = table_of(server_name=names.dictionary_encode() if is_dictionary else names)
    with pytest.raises(RequestError, match="compressed: send them as they are"):
        feed(stream_of(table, compression=codec))


def test_more_rows_than_allowed_are_refused_whole() -> None:
    body = stream_of(table_of(), rows=1)
    assert read_arrow(body, RULES.metrics, most=2).received == 2
    with pytest.raises(TooManyRecords):
        read_arrow(body, RULES.metrics, most=1)


def test_rows_without_columns_take_no_memory() -> None:
    """A column of nulls has no bytes, whatever its length."""
    with pytest.raises(TooManyRecords):
        read_arrow(stream_of(pa.table({"timestamp": pa.nulls(10**9)})), RULES.metrics, most=100_000)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff" * 100, stream_of(table_of())[:300]])
def test_what_is_no_stream_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(RequestError, match="no Arrow stream") as caught:
        read_arrow(body, RULES.metrics, most=10)
    assert "\n" not in str(caught.value)


def test_a_column_that_stands_twice_is_refused() -> None:
    table = table_of().append_column("cpu_user_pct", pa.array([1.0, 2.0]))
    with pytest.raises(RequestError, match="'cpu_user_pct' stands twice"):
        feed(stream_of(table))


GOOD = stream_of(
    table_of(status=pa.array(["idle", None]).dictionary_encode(), profile=pa.array(["Database", "ÿ"]), odd=[[1], None])
)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_stream_is_refused_or_read(changes: list[tuple[int, int]]) -> None:
    body = bytearray(GOOD)
    for place, byte in changes:
        body[place] = byte
    try:
        parsed = feed(bytes(body))
    except RequestError:
        return
    assert parsed.received == len(parsed.indices) + len(parsed.rejected)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_without_a_zone_are_of_the_zone_of_the_config(unit: str) -> None:
    rules = replace(RULES, naive_zone=ZoneInfo("Europe/Berlin"))
    local = STAMP.replace(tzinfo=None) + timedelta(hours=1)
    times = pa.array([local, datetime(2200, 1, 1)], pa.timestamp(unit))
    sent = read_arrow(stream_of(table_of(timestamp=times)), RULES.metrics, most=2, naive_zone=rules.naive_zone)
    parsed = reader_of(RULES.metrics).judge(sent, rules, now=NOW)
    assert parsed.batch is not None
    assert parsed.batch.slots.tolist() == [SLOT]
    ((index, field, reason),) = reasons(parsed)
    assert (index, field) == (1, "timestamp")
    assert "ahead of this machine's clock" in reason
