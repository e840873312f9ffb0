"""Reads the fields of one record with errors, and words what is wrong with them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from nordiq_watch.api.sources import Drop
from nordiq_watch.json_lists.lenient import kind_of
from nordiq_watch.metrics import SENSOR_OVERSHOOT_PCT, SENSOR_UNDERSHOOT_PCT, describe

OWN_FIELDS = ("timestamp", "server_name", "status", "profile")
"""Fields of a record that are no metrics."""


class Refused(Exception):
    """A record that is refused."""

    def __init__(self, field: str, reason: str, cause: Drop = Drop.INVALID) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason
        self.cause = cause


def read_name(name: Any) -> str:
    if name is None:
        raise Refused("server_name", "is missing; must be a text", Drop.NO_SERVER_NAME)
    if not isinstance(name, str):
        raise Refused("server_name", f"is {show(name)}; must be a text that is not empty")
    return name


def read_timestamp(stamp: Any) -> str | int | float:
    if stamp is None:
        raise Refused("timestamp", "is missing; must be ISO 8601 or Unix seconds")
    if isinstance(stamp, bool) or not isinstance(stamp, str | int | float):
        raise Refused("timestamp", f"is {show(stamp)}; must be ISO 8601 or Unix seconds")
    return stamp


def read_label(record: dict[str, Any], field: str) -> str | None:
    label = record.get(field)
    if label is not None and not isinstance(label, str):
        raise Refused(field, f"is {show(label)}; must be a text")
    return label


def read_number(name: str, value: Any) -> float | None:
    """NaN is refused here, where it still differs from "not measured"; ranges are checked elsewhere."""
    if value is None:
        return None
    if not is_number(value):
        raise Refused(name, why_no_number(name, value), Drop.NOT_A_NUMBER)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def is_number(value: Any) -> bool:
    """Whether a value of a metric can be taken, of whatever size; None was not measured."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # NaN is not itself


def why_no_number(name: str, value: Any) -> str:
    return f"is {show(value)}; must be {Range.of(name).allowed()}"


# --- words --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Range:
    """The allowed range of a metric. Non-finite values never pass: NaN fails every comparison, and `high` is finite."""

    name: str
    low: float
    high: float
    accepted_low: float
    accepted_high: float

    @classmethod
    def of(cls, name: str) -> Range:
        metric = describe(name)
        return cls(name, metric.low, metric.high, metric.accepted_low, metric.accepted_high)

    def allowed(self) -> str:
        allowed = f"a number from {self.low:g} to {self.high:g}"
        if self.accepted_high == self.high:
            return allowed
        over, under = SENSOR_OVERSHOOT_PCT, SENSOR_UNDERSHOOT_PCT
        return f"{allowed} (up to {over:g} is kept as {self.high:g}, above {under:g} as {self.low:g})"


def show(value: Any) -> str:
    """A JSON value in one short line: scalars literally, containers by their type."""
    if isinstance(value, dict | list):
        return kind_of(value)
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    return json.dumps(value)[:40]
