"""Telegraf's JSON, as its HTTP output writes it: one metric, or `{"metrics": […]}`, times in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import msgspec

from nordiq_watch.errors import RequestError
from nordiq_watch.feeders.series import NAME, Series

MAX_TAGS = 100

_EXPECTED = 'set data_format = "json" and json_timestamp_units = "1s" in [[outputs.http]]'


class _Metric(msgspec.Struct):
    name: str
    fields: dict[str, Any]
    timestamp: float
    tags: dict[str, str] = {}


class _Batch(msgspec.Struct):
    metrics: list[_Metric]


_batch, _single = msgspec.json.Decoder(_Batch), msgspec.json.Decoder(_Metric)


def read_telegraf(body: bytes) -> Iterator[Series]:
    """One series a numeric field, called plugin_field; one after the other, because each carries all the tags
    of its metric. RequestError if it is none of both.
    """
    try:
        metrics = _read(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RequestError(f"the body is not Telegraf's JSON ({error}): {_EXPECTED}") from None
    for metric in metrics:
        if len(metric.tags) > MAX_TAGS:
            raise RequestError(
                f"the metric {metric.name[:40]!r} has {len(metric.tags)} tags; at most {MAX_TAGS} are taken"
            )
    return chain.from_iterable(map(_series_of, metrics))


def _read(body: bytes) -> list[_Metric]:
    try:
        return _batch.decode(body).metrics
    except msgspec.ValidationError as error:
        if "required field `metrics`" not in str(error):
            raise
    return [_single.decode(body)]


def _series_of(metric: _Metric) -> Iterator[Series]:
    for name, value in metric.fields.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield Series({**metric.tags, NAME: f"{metric.name}_{name}"}, [(metric.timestamp, float(value))])
