from __future__ import annotations

import json
import re
from typing import Any

import pytest

from nordiq_watch.api.sources import Drop
from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.ingest.formats.series import MAX_LABELS, Series
from nordiq_watch.ingest.formats.telegraf import read_telegraf

METRIC: dict[str, Any] = {
    "name": "system",
    "tags": {"host": "web1"},
    "fields": {"load1": 0.5, "n_cpus": 4, "uptime_format": "1 day", "ok": True, "none": None},
    "timestamp": 1_738_246_000,
}
EXPECTED = [
    Series({"host": "web1", "__name__": "system_load1"}, [(1_738_246_000.0, 0.5)]),
    Series({"host": "web1", "__name__": "system_n_cpus"}, [(1_738_246_000.0, 4.0)]),
]


def read(body: bytes, *, most: int = 100) -> list[Series]:
    return list(read_telegraf(body, most=most).series)


def test_a_batch_and_a_single_metric() -> None:
    assert read(json.dumps({"metrics": [METRIC]}).encode()) == EXPECTED
    assert read(json.dumps(METRIC).encode()) == EXPECTED
    assert read(b'{"metrics": []}') == []


def test_a_metric_with_too_many_tags_is_passed_over_and_the_others_are_taken() -> None:
    tags = {f"tag{number}": "" for number in range(MAX_LABELS)}
    metrics = [METRIC | {"tags": tags}, METRIC | {"tags": tags | {"one": "more"}}, METRIC]
    sent = read_telegraf(json.dumps({"metrics": metrics}).encode(), most=100)
    assert (sent.passed_over, sent.reason) == (1, "the metric 'system' has 101 tags; at most 100 are taken")
    assert list(sent.series)[-2:] == EXPECTED
    assert len(list(read_telegraf(json.dumps(METRIC).encode(), most=100).series)) == 2


@pytest.mark.parametrize(("metrics", "said"), [([METRIC] * 7, "6 metrics"), ([METRIC] * 2, "6 fields")])
def test_more_metrics_or_fields_than_one_body_may_have_are_refused(metrics: list[Any], said: str) -> None:
    with pytest.raises(TooManyRecords, match=said):
        read(json.dumps({"metrics": metrics}).encode(), most=6)


def test_one_metric_that_is_longer_than_any_is_passed_over() -> None:
    long = METRIC | {"name": "x" * 300_000}
    sent = read_telegraf(json.dumps({"metrics": [METRIC, long]}).encode(), most=100)
    assert (sent.causes, list(sent.series)) == ({Drop.INVALID: 1}, EXPECTED)
    assert re.fullmatch(r"metric 1 has 300,1.. bytes; must have at most 262,144", sent.reason)
    for single in (long, METRIC | {"fields": {"a": 1}, "odd": ["x" * 300_000]}):
        with pytest.raises(RequestError, match="bytes"):
            read(json.dumps(single).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"metrics": 3}',
        b'{"metrics": [{"name": "x"},]}',
        b"\xff",
        b"[" * 100_000,
        b"system load1=1",
    ],
)
def test_what_is_not_telegrafs_json_is_refused_with_the_settings_to_make(body: bytes) -> None:
    with pytest.raises(RequestError, match=r'data_format = "json"'):
        read(body)


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "x"},
        METRIC | {"timestamp": "noon"},
        METRIC | {"tags": {"host": 3}},
        METRIC | {"fields": 1},
        3,
        None,
        [],
    ],
)
def test_a_metric_of_another_form_costs_itself(bad: Any) -> None:
    sent = read_telegraf(json.dumps({"metrics": [METRIC, bad, METRIC]}).encode(), most=100)
    assert (sent.causes, list(sent.series)) == ({Drop.INVALID: 1}, EXPECTED * 2)
    assert sent.reason.startswith("metric 1 is not as Telegraf writes it")


def test_a_field_of_another_form_costs_itself() -> None:
    odd = METRIC | {"fields": METRIC["fields"] | {"nested": {"a": 1}, "list": [1]}}
    sent = read_telegraf(json.dumps({"metrics": [odd]}).encode(), most=100)
    assert (sent.passed_over, list(sent.series)) == (0, EXPECTED)


@pytest.mark.parametrize("wrong", [b"\xff", b"\xe9t\xe9", rb"\ud800"])
@pytest.mark.parametrize(
    "odd", [{"tags": {"host": "BAD!"}}, {"tags": {"BAD!": "x"}}, {"name": "BAD!"}, {"fields": {"BAD!": 1}}]
)
def test_a_metric_with_a_text_that_is_not_utf_8_costs_itself(wrong: bytes, odd: dict[str, Any]) -> None:
    body = json.dumps({"metrics": [METRIC, METRIC | odd, METRIC]}).encode().replace(b"BAD!", wrong)
    sent = read_telegraf(body, most=100)
    assert (sent.causes, list(sent.series)) == ({Drop.INVALID: 1}, EXPECTED * 2)
    assert sent.reason == "metric 1 has a name, a tag or a field that is not UTF-8"
