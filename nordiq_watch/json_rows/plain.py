"""The steps in Python, for installations without the compiled writer; the bytes are the same."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any, assert_never

import numpy as np
import orjson

from nordiq_watch.json_rows.steps import Comma, Literal, Number, NumberList, Step, When, Words, Written


def write_plainly(steps: Sequence[Step], rows: int) -> Written:
    out = BytesIO()
    ends = np.empty(rows, dtype=np.int64)
    last = b""
    for row in range(rows):
        last = _write_row(out, steps, row, last)
        ends[row] = out.tell()
    return Written(out.getvalue(), ends)


def _write_row(out: BytesIO, steps: Sequence[Step], row: int, last: bytes) -> bytes:
    """last: what was written before it, empty for nothing; returns what is written last."""
    for step in steps:
        if isinstance(step, When):
            if step.mask[row]:
                last = _write_row(out, step.then, row, last)
            continue
        text = _text_of(step, row, last)
        out.write(text)
        last = text or last
    return last


def _text_of(step: Literal | Words | Number | NumberList | Comma, row: int, last: bytes) -> bytes:
    match step:
        case Literal():
            return step.text
        case Words():
            return step.words[row if step.codes is None else step.codes[row]]
        case Number():
            return _dump(step.values[row])
        case NumberList():
            return _dump(np.ascontiguousarray(step.values[row]))
        case Comma():
            return b"," if last and not last.endswith(b"{") else b""
    assert_never(step)


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
