from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch, samples_of

from nordiq_watch.batches import keep_rows, select_rows
from nordiq_watch.errors import RequestError
from nordiq_watch.forecast.rows import MAX_UNKNOWN_FIELDS, Rows, schema_of
from nordiq_watch.forecast.samples import (
    FeedRules,
    ParsedFeed,
    judge_rows,
    parse_feed,
    reject_servers,
)
from nordiq_watch.metrics import STATUSES

NOW = datetime(2025, 1, 15, 10, 2, tzinfo=UTC).timestamp()
RULES = FeedRules(
    metrics=(*METRICS, "load_average"), interval_seconds=300, future_seconds=300, window_length=12, newest_slot=None
)
SLOT = int(datetime(2025, 1, 15, 10, 0, tzinfo=UTC).timestamp()) // 300


def record(**changes: Any) -> dict[str, Any]:
    return {"timestamp": "2025-01-15T10:00:00", "server_name": "ppdb001", "cpu_user_pct": 25.3} | changes


def parse(*records: Any, rules: FeedRules = RULES) -> ParsedFeed:
    return parse_feed(json.dumps({"records": records}).encode(), rules, now=NOW)


def reason_for(**changes: Any) -> tuple[str, str]:
    """The field and the reason of the one rejection of a record with these changes."""
    feed = parse(record(), record(**changes))
    assert feed.batch is not None and feed.indices == (0,), "the good record beside it is kept"
    (rejection,) = feed.rejected
    assert rejection.index == 1
    return rejection.field, rejection.reason


def test_a_valid_record_becomes_a_row() -> None:
    feed = parse(record(mem_used_pct=None, load_average=3, status="heavy_load", profile="Database"))
    batch = feed.batch
    assert batch is not None
    assert (batch.servers, batch.profiles) == (("ppdb001",), ("Database",))
    assert batch.rows.tolist() == [0] and batch.slots.tolist() == [SLOT]
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
        parse_feed(body, RULES, now=NOW)
    assert said in str(caught.value)
    assert 'send {"records": [' in str(caught.value)
    assert "\n" not in str(caught.value)


# --- time ---


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's own zone must not matter."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "stamp",
    [
        "2025-01-15T10:00:00",  # without a zone: UTC
        "2025-01-15T10:00:00Z",
        "2025-01-15T10:00:00+00:00",
        "2025-01-15T12:00:00+02:00",
        "2025-01-15T04:00:00-06:00",
        "2025-01-15 10:00:00",
        "2025-01-15T10:04:59.999999",
        "20250115T100000Z",
        int(NOW),
        NOW + 0.25,
    ],
)
def test_a_timestamp_finds_its_slot(stamp: Any, far_from_utc: None) -> None:
    feed = parse(record(timestamp=stamp))
    assert feed.rejected == () and feed.batch is not None
    assert feed.batch.slots.tolist() == [SLOT]


def test_the_hour_that_daylight_saving_repeats_is_two_hours() -> None:
    rules = FeedRules(metrics=METRICS, interval_seconds=300, future_seconds=300, window_length=288)
    summer, winter = "2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"
    batch = parse(record(timestamp=summer), record(timestamp=winter), rules=rules).batch
    assert batch is not None
    assert np.diff(batch.slots).tolist() == [12]


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        (None, "is missing; must be ISO 8601 or Unix seconds"),
        ("yesterday", "is 'yesterday'; must be ISO 8601, such as"),
        ("", "is ''; must be ISO 8601"),
        ("2025-02-30T10:00:00", "must be ISO 8601"),
        ("2025-01-15T10:00:00+99:00", "must be ISO 8601"),
        (True, "is true; must be ISO 8601 or Unix seconds"),
        ([1], "is a list; must be ISO 8601 or Unix seconds"),
        (-5, "is -5; must be a time since 1970"),
        ("0001-01-01T00:00:00+14:00", "must be a time since 1970"),
        (float("nan"), "is NaN; must be a time since 1970"),
        (float("inf"), "is Infinity; Unix times must be in seconds"),
        (NOW * 1000, "Unix times must be in seconds"),
        ("2025-01-15T10:07:01Z", "301 s ahead of this machine's clock; must be at most 300 s ahead"),
        ("9999-12-31T23:59:59", "ahead of this machine's clock"),
        ("2025-01-15T08:59:59Z", "is older than the window; must be from 2025-01-15T09:05:00+00:00 on"),
    ],
)
def test_a_timestamp_that_is_refused(stamp: Any, said: str) -> None:
    field, reason = reason_for(timestamp=stamp)
    assert field == "timestamp"
    assert said in reason


def test_the_future_begins_after_the_allowed_seconds() -> None:
    assert parse(record(timestamp=NOW + 300)).rejected == ()
    assert parse(record(timestamp=NOW + 300.01)).rejected != ()


@pytest.mark.parametrize(
    ("slots_ago", "newest", "kept"),
    [
        ([11, 0], None, [0, 1]),
        ([12, 0], None, [1]),
        ([12, 1], SLOT - 1, [0, 1]),
        ([12, 1], SLOT, [1]),
        ([11, -12], SLOT + 12, [0, 1]),
    ],
)
def test_old_is_relative_to_the_newest_of_window_and_request(
    slots_ago: list[int], newest: int | None, kept: list[int]
) -> None:
    rules = FeedRules(metrics=METRICS, interval_seconds=300, future_seconds=3600, window_length=12, newest_slot=newest)
    feed = parse(*(record(timestamp=NOW - ago * 300) for ago in slots_ago), rules=rules)
    assert list(feed.indices) == kept


def test_a_window_that_is_ahead_of_the_clock_makes_nothing_old() -> None:
    rules = replace(RULES, newest_slot=SLOT + 10_000)
    feed = parse(record(timestamp=NOW - 11 * 300), record(timestamp=NOW - 12 * 300), rules=rules)
    assert list(feed.indices) == [0], "the newest slot that decides is the clock's"


def test_a_refused_record_does_not_make_others_old() -> None:
    long_ago = record(timestamp="2024-01-01T00:00:00")
    feed = parse(long_ago, record(cpu_user_pct="x"))
    assert feed.indices == (0,)


def test_a_whole_request_from_long_ago_is_taken_into_an_empty_window() -> None:
    feed = parse(record(timestamp="2011-05-01T00:00:00"), record(timestamp=0))
    assert feed.indices == (0,)
    assert [rejection.index for rejection in feed.rejected] == [1]


# --- values ---


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("cpu_user_pct", "25.3", "is '25.3'; must be a number from 0 to 100 (up to 110 is kept as 100)"),
        ("cpu_user_pct", True, "is true; must be a number"),
        ("cpu_user_pct", [], "is a list; must be a number"),
        ("cpu_user_pct", {}, "is an object; must be a number"),
        ("cpu_user_pct", float("nan"), "is NaN; must be a number from 0 to 100"),
        ("cpu_user_pct", float("inf"), "is Infinity; must be"),
        ("cpu_user_pct", float("-inf"), "is -Infinity; must be"),
        ("cpu_user_pct", -0.1, "is -0.1; must be a number from 0 to 100"),
        ("cpu_user_pct", 110.1, "is 110.1; must be"),
        ("cpu_user_pct", 10**400, "must be a number from 0 to 100"),
        ("load_average", -1, "is -1; must be a number from 0 to 1e+12"),
        ("load_average", float("inf"), "must be a number from 0 to 1e+12"),
        ("load_average", 1e39, "must be a number from 0 to 1e+12"),  # infinite as float32
        ("load_average", 3e38, "is 3e+38; must be a number from 0 to 1e+12"),
        ("load_average", 1.1e12, "must be a number from 0 to 1e+12"),
    ],
)
def test_a_value_that_is_refused(metric: str, value: Any, said: str) -> None:
    field, reason = reason_for(**{metric: value})
    assert field == metric
    assert said in reason


@pytest.mark.parametrize(("value", "kept", "clipped"), [(0, 0, 0), (100, 100, 0), (100.01, 100, 1), (110, 100, 1)])
def test_a_sensor_that_overshoots_is_kept_as_100(value: float, kept: float, clipped: int) -> None:
    feed = parse(record(cpu_user_pct=value))
    assert feed.batch is not None
    assert feed.batch.values[0, 0] == kept
    assert feed.clipped == clipped


def test_what_was_clipped_in_a_refused_record_is_not_counted() -> None:
    assert parse(record(cpu_user_pct=105, mem_used_pct=-1)).clipped == 0
    assert parse(record(), record(cpu_user_pct=105, timestamp="2025-01-01T00:00:00")).clipped == 0


def test_a_number_that_only_json_libraries_of_python_write_costs_its_record_alone() -> None:
    body = b'{"records": [%s, %s, %s]}' % (
        orjson.dumps(record()),
        orjson.dumps(record(cpu_user_pct=7)).replace(b":7", b":NaN"),
        orjson.dumps(record(cpu_user_pct=7)).replace(b":7", b":1e999"),
    )
    feed = parse_feed(body, RULES, now=NOW)
    assert feed.indices == (0,)
    assert [(rejection.index, rejection.field) for rejection in feed.rejected] == [
        (1, "cpu_user_pct"),
        (2, "cpu_user_pct"),
    ]


@pytest.mark.parametrize("changes", [{"cpu_user_pct": None}, {"cpu_user_pct": None, "disk_pct": 5}])
def test_a_record_without_any_metric_is_refused(changes: dict[str, Any]) -> None:
    field, reason = reason_for(**changes)
    assert field == "metrics"
    assert "at least one of cpu_user_pct, mem_used_pct, load_average" in reason


def test_one_bad_field_costs_the_whole_record() -> None:
    feed = parse(record(mem_used_pct="full"))
    assert feed.batch is None
    assert [rejection.field for rejection in feed.rejected] == ["mem_used_pct"]


# --- text ---


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"server_name": None}, "is missing; must be a text"),
        ({"server_name": ""}, "is ''; must be a text that is not empty"),
        ({"server_name": "  "}, "must be a text that is not empty"),
        ({"server_name": 7}, "is 7; must be a text that is not empty"),
        ({"server_name": ["a"]}, "is a list; must be a text"),
        ({"server_name": "x" * 256}, "has 256 characters; must have at most 255"),
        ({"server_name": "a\nb"}, r"is 'a\nb'; must be without control characters"),
        ({"server_name": "a\x00b"}, "must be without control characters"),
        (
            {"server_name": "a\u202eb"},
            "must be without control characters and others that nobody can see, such as U+202E",
        ),
        ({"server_name": "*"}, "is '*'; must be another one: this one stands for the whole fleet"),
        (
            {"server_name": " current "},
            "is 'current'; must be another one: this one is what /predictions/current means",
        ),
        ({"profile": "a\u2066b"}, "nobody can see (U+2066)"),
        ({"server_name": "\ud800"}, "must be without control characters"),
        ({"status": 3}, "is 3; must be a text"),
        ({"status": "s" * 65}, "has 65 characters; must have at most 64"),
        ({"profile": {}}, "is an object; must be a text"),
        ({"profile": "p" * 65}, "at most 64"),
        ({"profile": "\x1b[31m"}, "must be without control characters"),
    ],
)
def test_a_text_that_is_refused(changes: dict[str, Any], said: str) -> None:
    field, reason = reason_for(**changes)
    assert field == next(iter(changes))
    assert said in reason


def test_a_name_is_kept_in_one_form() -> None:
    feed = parse(
        *[record(server_name=name) for name in (" web1", "web1\u00a0", "gro\u0308\u00dfe", "gr\u00f6\u00dfe", "WEB1")]
    )
    assert feed.batch is not None and feed.rejected == ()
    assert feed.batch.servers == ("web1", "gr\u00f6\u00dfe", "WEB1")
    assert feed.batch.rows.tolist() == [0, 0, 1, 1, 2]


def test_text_is_taken_as_it_is() -> None:
    names = ["x" * 255, "größe/東京", "a b"]
    batch = parse(*[record(server_name=name, status="on fire", profile="") for name in names]).batch
    assert batch is not None
    assert batch.servers == tuple(names)
    assert batch.profiles == (None, None, None)
    assert batch.statuses.tolist() == [0, 0, 0], "a status that is not in the list is unknown"


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


def test_reasons_stay_short() -> None:
    for value in ("x" * 10_000, 10**4000, [[0] * 1000]):
        _, reason = reason_for(cpu_user_pct=value)
        assert len(reason) < 200


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
    named = [rejection.index for rejection in feed.rejected]
    assert sorted([*feed.indices, *named]) == list(range(len(records)))
    orjson.dumps([(rejection.field, rejection.reason) for rejection in feed.rejected])
    if feed.batch is not None:
        assert len(feed.batch.rows) == len(feed.indices)
        assert np.isfinite(feed.batch.values).any(axis=1).all()


@given(st.lists(st.dictionaries(FIELDS, JSON).map(lambda changes: record() | changes), max_size=6))
def test_one_pass_and_record_by_record_come_to_the_same(records: list[dict[str, Any]]) -> None:
    """The good rows of a body that was read record by record are those that one pass reads when they come alone."""
    feed = parse(*records, {"server_name": 1})
    alone = parse(*[records[index] for index in feed.indices])
    assert alone.rejected == ()
    assert alone.clipped == feed.clipped
    assert (alone.batch is None) == (feed.batch is None)
    if feed.batch is not None and alone.batch is not None:
        assert alone.batch.servers == feed.batch.servers and alone.batch.profiles == feed.batch.profiles
        for column in ("rows", "slots", "statuses", "values"):
            np.testing.assert_array_equal(getattr(alone.batch, column), getattr(feed.batch, column))


def test_a_field_that_was_unknown_before_is_read_over_and_still_named() -> None:
    metrics = ("cpu_user_pct", "class")  # a word of Python
    rules = FeedRules(metrics=metrics, interval_seconds=300, future_seconds=300, window_length=12)
    for _ in range(3):
        feed = parse(record(strange={"deep": [1, "x"]}, **{"class": 2}), record(), rules=rules)
        assert feed.unknown_fields == ("strange",)
        assert feed.batch is not None and feed.batch.values[0].tolist() == [np.float32(25.3), 2.0]
    assert parse(record(), rules=rules).unknown_fields == ()


def test_rows_that_were_no_json_are_judged_alike() -> None:
    schema = schema_of(RULES.metrics)
    rows = [
        schema.make(server="a", timestamp=NOW, values={"cpu_user_pct": 101.0}),
        schema.make(server="b", timestamp=NOW, values={"cpu_user_pct": -1.0}),
    ]
    feed = judge_rows(Rows(rows, range(2), 2), RULES, schema=schema, now=NOW)
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
    assert rejected.batch is not None and rejected.batch.servers == ("a",)
    assert rejected.indices == (2,)
    assert reject_servers(feed, ()) is feed
