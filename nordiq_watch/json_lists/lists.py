"""A list in a JSON object, found by a scan for its commas and brackets, and read in pieces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nordiq_watch.errors import RequestError
from nordiq_watch.json_lists.lenient import kind_of, read_json, read_pairs
from nordiq_watch.json_lists.scan import MOST_INSIDE, PIECE_BYTES, Scan
from nordiq_watch.records.arrays import IntArray

_PIECE_ELEMENTS = 5_000

_ALL_BLANK = re.compile(rb"[ \t\r\n]*+")
_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?+[ \t\r\n]*+(.)", re.DOTALL)
_KINDS = {b"[": "a list", b'"': "a text", b"t": "true/false", b"f": "true/false", b"n": "null"}


class FieldMissing(RequestError):
    """The object has no such field."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements of the list: `count` of them from number `first` on. text: a JSON list of them, not yet parsed; None for
    one element that is too long.
    """

    first: int
    count: int
    size_bytes: int
    text: bytes | None

    def parse(self, expected: str) -> list[Any]:
        """RequestError if it is not JSON."""
        assert self.text is not None
        elements = read_json(self.text, expected, place=f" in the list from element {self.first} on")
        if not isinstance(elements, list) or len(elements) != self.count:
            raise RequestError(f"the body is not JSON (a stray comma in the list): {expected}")
        return elements


@dataclass(frozen=True, slots=True)
class LongList:
    """A list inside of `body`. bounds: where its bracket, its commas and its last bracket stand."""

    body: bytes
    bounds: IntArray

    def __len__(self) -> int:
        start, end = int(self.bounds[0]) + 1, int(self.bounds[-1])
        if len(self.bounds) > 2 or _ALL_BLANK.match(self.body, start, end).end() < end:  # type: ignore[union-attr]
            return len(self.bounds) - 1
        return 0

    def element(self, number: int) -> bytes:
        """One of them as it stands in the body."""
        return self.body[int(self.bounds[number]) + 1 : int(self.bounds[number + 1])]

    def pieces(self) -> Iterator[Piece]:
        first, length = 0, len(self)
        while first < length:
            begin = int(self.bounds[first]) + 1
            fitting = int(np.searchsorted(self.bounds, begin + PIECE_BYTES, side="right")) - 1
            last = min(max(fitting, first + 1), first + _PIECE_ELEMENTS)
            end = int(self.bounds[last])
            fits = end - begin <= PIECE_BYTES
            text = b"[" + self.body[begin:end] + b"]" if fits else None
            yield Piece(first, last - first, end - begin, text)
            first = last


def find_list(body: bytes, key: str, *, most: int, expected: str) -> LongList:
    """The list under `key` of a JSON object. The pieces are checked when they are parsed, all else is by now.

    TooManyRecords when the object's lists have more than `most` elements; they are not looked at further then.
    FieldMissing without `key`; RequestError if the body is no object, or has `key` twice, or as something else than a
    list. `expected` says what to send instead.
    """
    return split_object(body, key, most=most, expected=expected)[1]


def split_object(
    body: bytes, key: str, *, most: int, expected: str, most_inside: int = MOST_INSIDE
) -> tuple[bytes, LongList]:
    """An object without the elements of its lists, and the list under `key`. Raises as `find_list` does.

    most_inside: lists and objects that an element may have inside, in the mean of `most` elements.
    """
    _check_object(body, expected)
    lists = Scan(body, most=most, most_inside=most_inside, key=key, expected=expected).run()
    rest = b"".join(_leave_out(body, lists))
    if len(rest) > PIECE_BYTES:
        raise RequestError(f"the body holds {len(rest)} bytes that are in no list of `{key}`: {expected}")
    found = [value for name, value in read_pairs(rest, expected) if name == key]
    if not found:
        raise FieldMissing(f"the body has no field `{key}`: {expected}")
    if len(found) > 1:
        raise RequestError(f"the body has the field `{key}` {len(found)} times: send one list of all")
    if not isinstance(found[0], list):
        raise RequestError(f"`{key}` is {kind_of(found[0])}, not a list: {expected}")
    return rest, LongList(body, lists[found[0][0]])


def _check_object(body: bytes, expected: str) -> None:
    first = _FIRST.match(body)
    if first is not None and first[1] == b"{":
        return
    if len(body) <= PIECE_BYTES:
        kind = kind_of(read_json(body, expected))
    else:
        kind = _KINDS.get(first[1] if first else b"", "no JSON object")
    raise RequestError(f"the body is {kind}, not an object: {expected}")


def _leave_out(body: bytes, lists: list[IntArray]) -> Iterator[bytes]:
    """The body with the number of each list in the place of its elements."""
    begin = 0
    for number, bounds in enumerate(lists):
        yield body[begin : int(bounds[0]) + 1] + str(number).encode()
        begin = int(bounds[-1])
    yield body[begin:]


# --- JSON as Python's clients write it -----------------------------------------------------------------------------
