from __future__ import annotations

import json
from typing import Any

import pytest

from nordiq_watch.errors import RequestError
from nordiq_watch.feeders.series import Series
from nordiq_watch.feeders.telegraf import MAX_TAGS, read_telegraf

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


def test_a_batch_and_a_single_metric() -> None:
    assert list(read_telegraf(json.dumps({"metrics": [METRIC]}).encode())) == EXPECTED
    assert list(read_telegraf(json.dumps(METRIC).encode())) == EXPECTED
    assert list(read_telegraf(b'{"metrics": []}')) == []


def test_the_tags_that_each_field_carries_are_few() -> None:
    tags = {f"tag{number}": "" for number in range(MAX_TAGS)}
    assert len(list(read_telegraf(json.dumps(METRIC | {"tags": tags}).encode()))) == 2
    with pytest.raises(RequestError, match="the metric 'system' has 101 tags; at most 100 are taken"):
        read_telegraf(json.dumps(METRIC | {"tags": tags | {"one": "more"}}).encode())


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"metrics": 3}', b'{"metrics": [{"name": "x"}]}', b"\xff", b"[" * 100_000, b"system load1=1"],
)
def test_what_is_not_telegrafs_json_is_refused_with_the_settings_to_make(body: bytes) -> None:
    with pytest.raises(RequestError, match=r'data_format = "json"'):
        read_telegraf(body)
