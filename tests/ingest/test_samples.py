from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import Sample, make_batch, samples_of
from support.feed_records import NOW, RULES, SLOT, parse, read, record

from nordiq_watch.batches import keep_rows, select_rows
from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.rows import MAX_UNKNOWN_FIELDS, Rows
from nordiq_watch.ingest.sample_checks import FeedRules
from nordiq_watch.ingest.samples import (
    FeedReader,
    ParsedFeed,
    reject_servers,
)
from nordiq_watch.metrics import STATUSES


def test_a_valid_record_becomes_a_row() -> None:
    feed = parse(record(mem_used_pct=None, load_average=3, status="heavy_load", profile="Database"))
    batch = feed.batch
    assert batch is not None
    assert (batch.servers, batch.profiles) == (("ppdb001",), ("Database",))
    assert batch.rows.tolist() == [0]
    assert batch.slots.tolist() == [SLOT]
    assert batch.statuses.tolist() == [STATUSES.index("heavy_load")]
    np.testing.assert_array_equal(batch.values, np.array([[25.3, np.nan, 3.0]], dtype=np.float32))
    assert (feed.received, feed.rejected, feed.clipped, feed.unknown_fields) == (1, (), 0, ())


def test_no_records_make_no_batch() -> None:
    assert parse() == ParsedFeed(batch=None, received=0, rejected=(), clipped=0, unknown_fields=())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"records": [}', "not JSON"),
        (b"hello", "not JSON"),
        (b"[]", "a list, not an object"),
        (b"null", "null, not an object"),
        (b'"text"', "a text, not an object"),
        (b"{}", "no field `records`"),
        (b'{"records": {}}', "`records` is an object, not a list"),
        (b'{"records": null}', "`records` is null, not a list"),
        (b'{"records": 3}', "`records` is a number, not a list"),
        (b'{"records": [\xff]}', "not UTF-8"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"records": [{"cpu_user_pct": ' + b"9" * 5000 + b".}]}", "not JSON"),
    ],
)
def test_a_body_that_is_no_feed_is_refused_in_one_line(body: bytes, said: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(body)
    assert said in str(caught.value)
    assert 'send {"records": [' in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_that_only_json_libraries_of_python_write_costs_its_record_alone() -> None:
    body = b'{"records": [%s, %s, %s]}' % (
        orjson.dumps(record()),
        orjson.dumps(record(cpu_user_pct=7)).replace(b":7", b":NaN"),
        orjson.dumps(record(cpu_user_pct=7)).replace(b":7", b":1e999"),
    )
    feed = read(body)
    assert feed.indices == (0,)
    assert [(rejection.index, rejection.field) for rejection in feed.rejected] == [
        (1, "cpu_user_pct"),
        (2, "cpu_user_pct"),
    ]


@pytest.mark.parametrize(
    ("field", "said"),
    [("server_name", r"is 'r\udce9'; must be in UTF-8"), ("profile", "U+DCE9"), ("status", "U+DCE9")],
)
def test_a_text_that_is_not_utf_8_costs_its_record_alone(field: str, said: str) -> None:
    bad = orjson.dumps(record(**{field: "BAD!"})).replace(b"BAD!", b"r\xe9")
    feed = read(b'{"sent by":"\xe9","records": [%s, %s, %s]}' % (orjson.dumps(record()), bad, orjson.dumps(record())))
    assert feed.indices == (0, 2)
    (rejection,) = feed.rejected
    assert (rejection.index, rejection.field) == (1, field)
    assert said in rejection.reason


@pytest.mark.parametrize("thing", [None, 3, "text", [], True])
def test_a_record_that_is_no_object_is_refused(thing: Any) -> None:
    feed = parse(record(), thing)
    (rejection,) = feed.rejected
    assert (rejection.index, rejection.field) == (1, "record")
    assert "must be an object" in rejection.reason


def test_unknown_fields_are_ignored_and_named_once() -> None:
    feed = parse(record(gpu_pct=5, zone="eu"), record(gpu_pct="x"), record(server_name=None, other=1))
    assert feed.unknown_fields == ("gpu_pct", "other", "zone")
    assert feed.indices == (0, 1)


def test_unknown_fields_stay_few_short_and_printable() -> None:
    feed = parse(record(**{f"field{number:03}": 1 for number in range(90)}, **{"\ud800": 1, "a" * 500: 1}))
    assert len(feed.unknown_fields) == MAX_UNKNOWN_FIELDS
    assert max(map(len, feed.unknown_fields)) == 64
    orjson.dumps(feed.unknown_fields)


# --- many records ---


def test_a_server_stands_once_with_its_last_profile() -> None:
    batch = parse(
        record(profile="A"), record(server_name="other"), record(profile="B"), record(timestamp=NOW - 300)
    ).batch
    assert batch is not None
    assert batch.servers == ("ppdb001", "other")
    assert batch.profiles == ("B", None)
    assert batch.rows.tolist() == [0, 1, 0, 0]


def test_rejections_are_in_the_order_of_the_request() -> None:
    feed = parse(record(timestamp="2020-01-01"), record(cpu_user_pct=-1), record(), record(timestamp="2020-01-01"))
    assert [rejection.index for rejection in feed.rejected] == [0, 1, 3]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(["timestamp", "server_name", "status", "profile", "cpu_user_pct", "mem_used_pct", "odd"])


@given(st.lists(JSON | st.dictionaries(FIELDS, JSON).map(lambda changes: record() | changes), max_size=6))
def test_every_record_is_either_taken_or_named(records: list[Any]) -> None:
    feed = parse(*records)
    named = {rejection.index for rejection in feed.rejected}
    assert sorted([*feed.indices, *named.difference(feed.indices)]) == list(range(len(records)))
    orjson.dumps([(rejection.field, rejection.reason) for rejection in feed.rejected])
    if feed.batch is not None:
        assert len(feed.batch.rows) == len(feed.indices)
        assert np.isfinite(feed.batch.values).any(axis=1).all()


@given(st.lists(st.dictionaries(FIELDS, JSON).map(lambda changes: record() | changes), max_size=6))
def test_one_pass_and_record_by_record_come_to_the_same(records: list[dict[str, Any]]) -> None:
    """The good rows of a body that was read record by record are those that one pass reads when they come alone."""
    feed = parse(*records, {"server_name": 1})
    alone = parse(*[records[index] for index in feed.indices])
    assert len(alone.rejected) == alone.values_left_out == feed.values_left_out
    assert alone.clipped == feed.clipped
    assert (alone.batch is None) == (feed.batch is None)
    if feed.batch is not None and alone.batch is not None:
        assert alone.batch.servers == feed.batch.servers
        assert alone.batch.profiles == feed.batch.profiles
        for column in ("rows", "slots", "statuses", "values"):
            np.testing.assert_array_equal(getattr(alone.batch, column), getattr(feed.batch, column))


def test_a_field_that_was_unknown_before_is_read_over_and_still_named() -> None:
    metrics = ("cpu_user_pct", "class")  # a word of Python
    rules = FeedRules(metrics=metrics, interval_seconds=300, future_seconds=300, window_length=12)
    for _ in range(3):
        feed = parse(record(strange={"deep": [1, "x"]}, **{"class": 2}), record(), rules=rules)
        assert feed.unknown_fields == ("strange",)
        assert feed.batch is not None
        assert feed.batch.values[0].tolist() == [np.float32(25.3), 2.0]
    assert parse(record(), rules=rules).unknown_fields == ()


def test_rows_that_were_no_json_are_judged_alike() -> None:
    reader = FeedReader(RULES.metrics)
    schema = reader.schema
    rows = [
        schema.make(server="a", timestamp=NOW, values={"cpu_user_pct": 101.0}),
        schema.make(server="b", timestamp=NOW, values={"cpu_user_pct": -1.0}),
    ]
    feed = reader.check(Rows(rows, range(2), 2), RULES, now=NOW)
    assert (feed.indices, feed.clipped) == ((0,), 1)
    assert feed.rejected[0].field == "cpu_user_pct"


# --- what the window has no room for ---


def test_rows_are_selected_together_with_their_servers() -> None:
    samples = [Sample("a", 1), Sample("b", 2, profile="P"), Sample("c", 3), Sample("b", 4, profile="P")]
    batch = make_batch(samples)
    chosen = select_rows(batch, keep_rows(batch, without={"a", "c"}))
    assert chosen is not None
    assert samples_of(chosen) == [samples[1], samples[3]]
    assert chosen.servers == ("b",)
    assert select_rows(batch, keep_rows(batch, without={"a", "b", "c"})) is None


def test_servers_without_room_become_rejections() -> None:
    feed = parse(record(server_name="b"), record(cpu_user_pct=-1), record(server_name="a"), record(server_name="b"))
    rejected = reject_servers(feed, {"b"})
    assert [(rejection.index, rejection.field) for rejection in rejected.rejected] == [
        (0, "server_name"),
        (1, "cpu_user_pct"),
        (3, "server_name"),
    ]
    assert "raise window.max_servers" in rejected.rejected[0].reason
    assert rejected.batch is not None
    assert rejected.batch.servers == ("a",)
    assert rejected.indices == (2,)
    assert reject_servers(feed, ()) is feed
