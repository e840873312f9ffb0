"""Calls the compiled writer (`rows.cpp`). Other threads run meanwhile: it holds no lock of the interpreter."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, assert_never

import numpy as np

from nordiq_watch.json_rows.steps import Comma, Literal, Number, NumberList, Step, When, Words, Written

log = logging.getLogger(__name__)

DIRECTORY = Path(__file__).parent
"""Where an installation puts the compiled writer."""

_VERSION = 1  # rows.cpp has the same; raised when steps change
_LITERAL, _WORDS, _FLOATS, _DOUBLES, _FLOAT_LISTS, _COMMA, _WHEN = range(7)
_LONGEST_FLOAT, _LONGEST_DOUBLE = 20, 28
"""Bytes of any number, with a comma; more than there ever are, for `rows.cpp` copies digits four at a time."""


class _Step(ctypes.Structure):
    """`Step` of rows.cpp."""

    _fields_: ClassVar = [
        ("kind", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("row", ctypes.c_int64),
        ("count", ctypes.c_int64),
        ("element", ctypes.c_int64),
        ("ends", ctypes.c_void_p),
        ("codes", ctypes.c_void_p),
    ]


@cache
def load_writer(directory: Path = DIRECTORY) -> ctypes.CDLL | None:
    """The compiled writer; None, with a log line, if there is none that fits."""
    found = sorted(directory.glob("_native*.so"))
    if not found:
        log.info("no native writer is built: answers are written by orjson. Install again with a C++ compiler at hand.")
        return None
    try:
        library = ctypes.CDLL(str(found[0]))
        library.nordiq_rows_version.restype = library.nordiq_rows_step_bytes.restype = ctypes.c_int64
        if (library.nordiq_rows_version(), library.nordiq_rows_step_bytes()) != (_VERSION, ctypes.sizeof(_Step)):
            raise OSError("it was built from another version of json_rows")
    except (OSError, AttributeError) as error:
        log.warning("the native writer cannot be loaded (%s): answers are written by orjson", error)
        return None
    library.nordiq_write_rows.restype = ctypes.c_int64
    library.nordiq_write_rows.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * 2]
    return library


def write_natively(library: ctypes.CDLL, steps: Sequence[Step], rows: int) -> Written:
    """Exactly `plain.write_plainly`."""
    program = _Program(rows)
    program.add(steps)
    ends = np.empty(rows, dtype=np.int64)
    out = np.empty(program.most_bytes * rows, dtype=np.uint8)
    listed = (_Step * len(program.steps))(*program.steps)
    written = library.nordiq_write_rows(listed, len(listed), rows, out.ctypes.data, ends.ctypes.data)
    return Written(out[:written].tobytes(), ends)


class _Program:
    """The steps as rows.cpp takes them, and all memory that they point to. most_bytes: of one row."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._kept: list[Any] = []
        self.steps: list[_Step] = []
        self.most_bytes = _LONGEST_DOUBLE

    def add(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Literal():
                    self._add(_LITERAL, self._text(step.text), count=len(step.text))
                    self.most_bytes += len(step.text)
                case Words():
                    self._add_words(step)
                case Number():
                    self._add_number(step)
                case NumberList():
                    self._add_list(step)
                case Comma():
                    self._add(_COMMA)
                    self.most_bytes += 1
                case When():
                    self._add_when(step)
                case _ as never:
                    assert_never(never)

    def _add_words(self, step: Words) -> None:
        codes = np.arange(self._rows) if step.codes is None else step.codes
        codes = np.ascontiguousarray(codes, dtype=np.int64)
        ends = np.array(list(accumulate(map(len, step.words))), dtype=np.int64)
        if len(codes) != self._rows or (self._rows and not 0 <= codes.min() <= codes.max() < len(ends)):
            raise ValueError("a row has no word")
        text = self._text(b"".join(step.words))
        self._add(_WORDS, text, ends=self._place(ends), codes=self._place(codes))
        self.most_bytes += max(map(len, step.words), default=0)

    def _add_number(self, step: Number) -> None:
        self._check(step.values, (np.float32, np.float64), dimensions=1)
        kind = _FLOATS if step.values.dtype == np.float32 else _DOUBLES
        self._add(kind, self._place(step.values), row=step.values.strides[0])
        self.most_bytes += _LONGEST_DOUBLE

    def _add_list(self, step: NumberList) -> None:
        self._check(step.values, (np.float32,), dimensions=2)
        row, element = step.values.strides
        self._add(_FLOAT_LISTS, self._place(step.values), row=row, count=step.values.shape[1], element=element)
        self.most_bytes += 2 + _LONGEST_FLOAT * step.values.shape[1]

    def _add_when(self, step: When) -> None:
        self._check(step.mask, (np.bool_,), dimensions=1)
        self._add(_WHEN, self._place(step.mask), row=step.mask.strides[0])
        condition, before = self.steps[-1], len(self.steps)
        self.add(step.then)
        condition.count = len(self.steps) - before

    def _check(self, values: np.ndarray[Any, Any], kinds: tuple[type, ...], *, dimensions: int) -> None:
        if values.dtype not in kinds or values.ndim != dimensions or len(values) != self._rows:
            raise ValueError(f"{values.dtype} {values.shape} cannot be written as {self._rows} rows")

    def _add(self, kind: int, data: int = 0, **fields: int) -> None:
        self.steps.append(_Step(kind=kind, data=data, **fields))

    def _text(self, text: bytes) -> int:
        return self._place(np.frombuffer(text, dtype=np.uint8)) if text else 0

    def _place(self, values: np.ndarray[Any, Any]) -> int:
        self._kept.append(values)
        return values.ctypes.data
