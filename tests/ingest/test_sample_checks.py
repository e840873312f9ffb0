"""Which records are refused, and with what reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from support.batches import METRICS
from support.feed_records import NOW, RULES, SLOT, parse, reason_for, record

from nordiq_watch.ingest.rows import MAX_NAMED
from nordiq_watch.ingest.sample_checks import FeedRules

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
    assert feed.rejected == ()
    assert feed.batch is not None
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
        ("cpu_user_pct", "25.3", "is '25.3'; must be a number from 0 to 100 (up to 110 is kept as 100, above -1 as 0)"),
        ("cpu_user_pct", True, "is true; must be a number"),
        ("cpu_user_pct", [], "is a list; must be a number"),
        ("cpu_user_pct", {}, "is an object; must be a number"),
        ("cpu_user_pct", float("nan"), "is NaN; must be a number from 0 to 100"),
        ("cpu_user_pct", float("inf"), "is Infinity; must be"),
        ("cpu_user_pct", float("-inf"), "is -Infinity; must be"),
        ("cpu_user_pct", -1, "is -1; must be a number from 0 to 100"),
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
    field, reason = reason_for(**{"cpu_user_pct": None, metric: value})
    assert field == metric
    assert said in reason


@pytest.mark.parametrize(("value", "kept", "clipped"), [(0, 0, 0), (100, 100, 0), (100.01, 100, 1), (110, 100, 1)])
def test_a_sensor_that_overshoots_is_kept_as_100(value: float, kept: float, clipped: int) -> None:
    feed = parse(record(cpu_user_pct=value))
    assert feed.batch is not None
    assert feed.batch.values[0, 0] == kept
    assert feed.clipped == clipped


def test_what_was_clipped_in_a_refused_record_is_not_counted() -> None:
    assert parse(record(cpu_user_pct=105, timestamp="soon")).clipped == 0
    assert parse(record(), record(cpu_user_pct=105, timestamp="2025-01-01T00:00:00")).clipped == 0


@pytest.mark.parametrize("changes", [{"cpu_user_pct": None}, {"cpu_user_pct": None, "disk_pct": 5}])
def test_a_record_without_any_metric_is_refused(changes: dict[str, Any]) -> None:
    field, reason = reason_for(**changes)
    assert field == "metrics"
    assert "at least one of cpu_user_pct, mem_used_pct, load_average" in reason


@pytest.mark.parametrize("bad", ["full", True, [], float("nan"), float("inf"), -20, 300, 10**400])
def test_one_bad_value_costs_itself_alone(bad: Any) -> None:
    feed = parse(record(), record(mem_used_pct=bad), record(cpu_user_pct=None, mem_used_pct=bad))
    assert feed.batch is not None
    assert feed.indices == (0, 1)
    assert np.isnan(feed.batch.values[:, 1]).all()
    assert feed.batch.values[:, 0].tolist() == pytest.approx([25.3, 25.3])
    assert [(one.index, one.field) for one in feed.rejected] == [(1, "mem_used_pct"), (2, "mem_used_pct")]
    assert (feed.values_left_out, sum(feed.causes.values())) == (1, 2)


def test_a_bad_value_of_a_refused_record_is_not_named_beside_it() -> None:
    feed = parse(record(mem_used_pct="full", timestamp="2099-01-01"), record(mem_used_pct=300, timestamp="soon"))
    assert [(one.index, one.field) for one in feed.rejected] == [(0, "timestamp"), (1, "timestamp")]
    assert (feed.batch, feed.values_left_out) == (None, 0)


def test_any_number_of_bad_values_is_counted_and_not_all_are_named() -> None:
    for bad in (300, "full"):
        feed = parse(*[record(mem_used_pct=bad)] * (MAX_NAMED + 3))
        assert (len(feed.indices), feed.values_left_out) == (MAX_NAMED + 3, MAX_NAMED + 3)
        assert (len(feed.rejected), feed.unnamed) == (MAX_NAMED, 3)
        assert sum(feed.causes.values()) == MAX_NAMED + 3


def test_a_record_that_is_too_old_makes_no_fault_of_its_values() -> None:
    feed = parse(record(mem_used_pct=-20, timestamp="2025-01-01T00:00:00"), record())
    assert [(one.index, one.field) for one in feed.rejected] == [(0, "timestamp")]


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
            "must be without control characters and other invisible ones, such as U+202E",
        ),
        ({"server_name": "*"}, "is '*'; must be another one: this one stands for the whole fleet"),
        (
            {"server_name": " current "},
            "is 'current'; must be another one: this one is what /predictions/current means",
        ),
        ({"profile": "a\u2066b"}, "other invisible ones (U+2066)"),
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
    assert feed.batch is not None
    assert feed.rejected == ()
    assert feed.batch.servers == ("web1", "gr\u00f6\u00dfe", "WEB1")
    assert feed.batch.rows.tolist() == [0, 0, 1, 1, 2]


def test_text_is_taken_as_it_is() -> None:
    names = ["x" * 255, "größe/東京", "a b"]
    batch = parse(*[record(server_name=name, status="on fire", profile="") for name in names]).batch
    assert batch is not None
    assert batch.servers == tuple(names)
    assert batch.profiles == (None, None, None)
    assert batch.statuses.tolist() == [0, 0, 0], "a status that is not in the list is unknown"


def test_reasons_stay_short() -> None:
    for value in ("x" * 10_000, 10**4000, [[0] * 1000]):
        _, reason = reason_for(cpu_user_pct=value)
        assert len(reason) < 200


BERLIN = replace(RULES, naive_zone=ZoneInfo("Europe/Berlin"))


def test_timestamps_without_a_zone_are_of_the_zone_of_the_config() -> None:
    local = parse(record(timestamp="2025-01-15T11:00:00"), record(timestamp="2025-01-15T10:00:00Z"), rules=BERLIN)
    assert local.rejected == ()
    assert local.batch is not None
    assert local.batch.slots.tolist() == [SLOT, SLOT]


def test_a_time_that_the_zone_leaves_out_costs_its_record_with_the_reason() -> None:
    feed = parse(record(timestamp="2025-01-15T11:00:00"), record(timestamp="2024-03-31T02:30:00"), rules=BERLIN)
    assert [(one.index, one.field, one.reason) for one in feed.rejected] == [
        (
            1,
            "timestamp",
            "is '2024-03-31T02:30:00', which does not exist in Europe/Berlin, whose clocks went forward over it",
        )
    ]
