"""Records of a feed, read at a fixed time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from nordiq_watch.ingest.sample_checks import FeedRules
from nordiq_watch.ingest.samples import FeedReader, ParsedFeed
from support.batches import METRICS

NOW = datetime(2025, 1, 15, 10, 2, tzinfo=UTC).timestamp()
RULES = FeedRules(
    metrics=(*METRICS, "load_average"), interval_seconds=300, future_seconds=300, window_length=12, newest_slot=None
)
SLOT = int(datetime(2025, 1, 15, 10, 0, tzinfo=UTC).timestamp()) // 300


def record(**changes: Any) -> dict[str, Any]:
    return {"timestamp": "2025-01-15T10:00:00", "server_name": "ppdb001", "cpu_user_pct": 25.3} | changes


def read(body: bytes, rules: FeedRules = RULES) -> ParsedFeed:
    return reader_of(rules.metrics).read(body, rules, now=NOW)


@lru_cache
def reader_of(metrics: tuple[str, ...]) -> FeedReader:
    return FeedReader(metrics)


def parse(*records: Any, rules: FeedRules = RULES) -> ParsedFeed:
    return read(json.dumps({"records": records}).encode(), rules)


def reason_for(**changes: Any) -> tuple[str, str]:
    """The field and the reason of the one rejection of a record with these changes."""
    feed = parse(record(), record(**changes))
    assert feed.batch is not None
    assert feed.indices == (0,), "the good record beside it is kept"
    (rejection,) = feed.rejected
    assert rejection.index == 1
    return rejection.field, rejection.reason
