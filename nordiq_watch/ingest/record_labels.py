"""The field `labels` of records: an object of texts. A bad label costs itself alone, and is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from nordiq_watch.ingest.columns import Coded
from nordiq_watch.labels import read_object
from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.servers import GivenLabels

LABELS = "labels"


def pack_labels(value: Any) -> msgspec.Raw:
    """A value of JSON as its text, for what could not be read at once."""
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except (msgspec.MsgspecError, UnicodeError, ValueError, TypeError):
        return msgspec.Raw(b'"?"')


def pack_cell(value: Any) -> bytes | None:
    """The same of a cell of a table: a map, as pairs, a struct, as a dictionary, or a text that is JSON."""
    if value is None or isinstance(value, str):
        return value if value is None else value.encode()
    pairs = value.items() if isinstance(value, dict) else value
    try:
        return bytes(pack_labels({name: one for name, one in pairs if one is not None}))
    except (TypeError, ValueError):  # something else
        return b'"?"'


def code_labels(records: Sequence[Any]) -> Coded | None:
    """The labels of rows as `rows` makes them: their texts, None where a row has none; None if no row has any."""
    texts = [None if record.labels is msgspec.UNSET else bytes(record.labels) for record in records]
    return Coded.of(texts) if any(texts) else None


def gather_labels(
    column: Coded | None, names: Sequence[str], moments: IntArray, keep: BoolArray
) -> tuple[list[GivenLabels], list[tuple[int, str, str]]]:
    """What the kept rows give to each server, the newest last, and what is wrong: row, field, reason.

    column: JSON texts, None where a row has none. moments (rows,): Unix milliseconds.
    """
    if column is None:
        return [], []
    read = [read_object(text) for text in column.values]
    given: dict[str, dict[str, str]] = {}
    newest: dict[str, int] = {}
    faults: list[tuple[int, str, str]] = []
    rows = np.flatnonzero(keep)
    for row in rows[np.argsort(moments[rows], kind="stable")].tolist():
        labels, wrong = read[column.codes[row]]
        faults += [(row, field, reason) for field, reason in wrong]
        if labels:
            given.setdefault(names[row], {}).update(labels)
            newest[names[row]] = int(moments[row])
    return [GivenLabels(name, newest[name] / 1000, labels) for name, labels in given.items()], sorted(faults)
