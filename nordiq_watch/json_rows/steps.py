"""The steps by which a row is written. All arrays of one program have the same number of rows.

Numbers are written as orjson does it: as few digits as tell a number apart from its neighbours; NaN and infinity as
null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nordiq_watch.records.arrays import BoolArray, DoubleArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Literal:
    """The same JSON in each row."""

    text: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """One of several pieces of JSON. codes (rows,): which one, from 0; None: each row has its own."""

    words: Sequence[bytes]
    codes: IntArray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """values (rows,)"""

    values: FloatArray | DoubleArray


@dataclass(frozen=True, slots=True, eq=False)
class NumberList:
    """values (rows, numbers), each row a list"""

    values: FloatArray


@dataclass(frozen=True, slots=True)
class Comma:
    """A comma, unless an object has just begun or nothing is written yet."""


@dataclass(frozen=True, slots=True, eq=False)
class When:
    """Steps only for rows where mask (rows,) is true."""

    mask: BoolArray
    then: Sequence[Step]


Step = Literal | Words | Number | NumberList | Comma | When


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """The rows one after the other. ends (rows,): where each of them ends in `text`."""

    text: bytes
    ends: IntArray
