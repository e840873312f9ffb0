"""JSON objects that hold one long list, such as `{"records": [ … ]}`, read in pieces.

A parser makes millions of objects out of 16 MB before anything can be counted, and holds the interpreter meanwhile.
Here the list is cut into pieces first: its length is known before its elements become objects, and no call works on
more than a piece. A list in its plainest form is cut without being scanned (`cut_plainly`); any other is scanned for
its commas and brackets (`find_list`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.records import IntArray

PIECE_BYTES = 256 * 1024
"""Also the most that one element may have, and the most that may stand beside the lists."""

_PIECE_ELEMENTS = 5_000
_PLAIN_BYTES = 2 * 1024 * 1024  # a parser that knows its type makes few objects of them
_MOST_NESTED = 64
_DEPTH_OF_ELEMENTS = 3
_MOST_LISTS = 1_000
_MOST_INSIDE = 4
"""Lists and objects that an element may have inside, in the mean of as many elements as there may be."""

_BLANKS = rb"[ \t\r\n]{0,64}"
_TAIL = re.compile(rb"\]" + _BLANKS + rb"\}" + _BLANKS)
_TAIL_BYTES = 150
_SEAM = re.compile(rb"\}" + _BLANKS + rb",")
_ALL_BLANK = re.compile(rb"[ \t\r\n]*+")
_FIRST = re.compile(rb"(?:\xef\xbb\xbf)?+[ \t\r\n]*+(.)", re.DOTALL)
_KINDS = {b"[": "a list", b'"': "a text", b"t": "true/false", b"f": "true/false", b"n": "null"}

_QUOTE, _BACKSLASH, _COMMA = ord('"'), ord("\\"), ord(",")
_STRUCTURAL = np.zeros(256, dtype=np.bool_)
_STRUCTURAL[[ord(symbol) for symbol in '"[]{},']] = True
_STEP = np.zeros(256, dtype=np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


class FieldMissing(RequestError):
    """The object has no such field."""


# --- the plain form -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _head_of(key: str) -> re.Pattern[bytes]:
    return re.compile(
        _BLANKS + rb"\{" + _BLANKS + b'"' + re.escape(key.encode()) + b'"' + _BLANKS + b":" + _BLANKS + rb"\["
    )


def cut_plainly(body: bytes, key: str) -> Iterable[bytes | memoryview] | None:
    """The list of a body that holds nothing else, as JSON lists of some megabytes; None for any other body.

    The cuts are guesses, made at a brace and a comma. A piece that can be parsed, and is not empty where there are
    several, proves that its end was one: a cut inside of a text leaves the text open.
    """
    head = _head_of(key).match(body)
    end = body.rfind(b"]", max(0, len(body) - _TAIL_BYTES))
    if head is None or end < head.end() or _TAIL.fullmatch(body, end) is None:
        return None
    if end - head.end() <= 2 * _PLAIN_BYTES:
        return (memoryview(body)[head.end() - 1 : end + 1],)
    return _cut(body, head.end(), end)


def _cut(body: bytes, start: int, end: int) -> Iterator[bytes]:
    while end - start > 2 * _PLAIN_BYTES:
        seam = _SEAM.search(body, start + _PLAIN_BYTES, start + 2 * _PLAIN_BYTES)
        if seam is None:
            yield b""  # no list: this body must be scanned
            return
        yield b"[" + body[start : seam.start() + 1] + b"]"
        start = seam.end()
    yield b"[" + body[start:end] + b"]"


# --- any form -----------------------------------------------------------------------------------------------------


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
    _check_object(body, expected)
    lists = _Scan(body, most=most, key=key, expected=expected).run()
    rest = b"".join(_leave_out(body, lists))
    if len(rest) > PIECE_BYTES:
        raise RequestError(f"the body holds {len(rest)} bytes that are in no list of `{key}`: {expected}")
    found = [value for name, value in _read_pairs(rest, expected) if name == key]
    if not found:
        raise FieldMissing(f"the body has no field `{key}`: {expected}")
    if len(found) > 1:
        raise RequestError(f"the body has the field `{key}` {len(found)} times: send one list of all")
    if not isinstance(found[0], list):
        raise RequestError(f"`{key}` is {kind_of(found[0])}, not a list: {expected}")
    return LongList(body, lists[found[0][0]])


def _check_object(body: bytes, expected: str) -> None:
    first = _FIRST.match(body)
    if first is not None and first[1] == b"{":
        return
    if len(body) <= PIECE_BYTES:
        kind = kind_of(read_json(body, expected))
    else:
        kind = _KINDS.get(first[1] if first else b"", "no JSON object")
    raise RequestError(f"the body is {kind}, not an object: {expected}")


class _Scan:
    """Finds the lists that are values of the outermost object, and their commas, block by block: what it keeps of the
    body so far is where it stands.
    """

    def __init__(self, body: bytes, *, most: int, key: str, expected: str) -> None:
        self._body = body
        self._most = most
        self._key = key
        self._expected = expected
        self._depth = 0
        self._in_text = False
        self._commas = 0
        self._lists = self._inside = 0
        self._marks: list[tuple[IntArray, IntArray]] = []

    def run(self) -> list[IntArray]:
        """The bounds of each list, in the order of the body."""
        start = 0
        while start < len(self._body):
            start = self._read_block(start)
        if self._depth or self._in_text:
            if len(self._body) <= PIECE_BYTES:
                read_json(self._body, self._expected)  # says where
            raise RequestError(f"the body is not JSON (it ends too early): {self._expected}")
        return self._bounds()

    def _read_block(self, start: int) -> int:
        """Returns where the next block begins: a backslash is left to the block of what it escapes."""
        block = np.frombuffer(self._body, np.uint8, min(PIECE_BYTES, len(self._body) - start), start)
        structural = _STRUCTURAL[block]
        escaped = _find_escaped(block)
        if len(escaped) and escaped[-1] == len(block):
            block, structural, escaped = block[: max(1, len(block) - 1)], structural[:-1], escaped[:-1]
        structural[escaped] = False
        where = np.flatnonzero(structural)
        symbols = block[where]
        quotes = symbols == _QUOTE
        inside = (np.cumsum(quotes) + self._in_text) & 1
        self._in_text = bool(inside[-1]) if len(inside) else self._in_text
        outside = (inside == 0) & ~quotes
        self._mark(where[outside] + start, symbols[outside])
        return start + len(block)

    def _mark(self, where: IntArray, symbols: Any) -> None:
        """Notes where lists and objects in the outermost object begin and end, and the commas in between."""
        steps = _STEP[symbols]
        depths = np.cumsum(steps, dtype=np.int64) + self._depth
        if not len(depths):
            return
        self._depth = int(depths[-1])
        if depths.max() > _MOST_NESTED:
            raise RequestError(f"the body is nested too deep: {self._expected}")
        if depths.min() < 0:
            raise RequestError(f"the body is not JSON (it has brackets that nothing opened): {self._expected}")
        self._inside += int(np.count_nonzero((depths > _DEPTH_OF_ELEMENTS) & (steps > 0)))
        if self._inside > _MOST_INSIDE * self._most:
            raise too_many(f"{self._key} with {_MOST_INSIDE} lists or objects inside", self._most)
        chosen = ((depths == 2) & (steps >= 0)) | ((depths == 1) & (steps < 0))
        self._commas += int(np.count_nonzero(symbols[chosen] == _COMMA))
        if self._commas >= self._most:
            raise too_many(self._key, self._most)
        self._lists += int(np.count_nonzero(steps[chosen] > 0))
        if self._lists > _MOST_LISTS:
            raise RequestError(f"the body has more than {_MOST_LISTS} lists and objects: {self._expected}")
        self._marks.append((where[chosen], symbols[chosen]))

    def _bounds(self) -> list[IntArray]:
        where = np.concatenate([places for places, _ in self._marks]) if self._marks else np.empty(0, np.int64)
        symbols = np.concatenate([kinds for _, kinds in self._marks]) if self._marks else np.empty(0, np.uint8)
        begins = np.flatnonzero(_STEP[symbols] > 0)
        ends = np.flatnonzero(_STEP[symbols] < 0)
        return [
            where[begin : end + 1]
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
            if symbols[begin] == ord("[")
        ]


def _find_escaped(block: Any) -> Any:
    """Positions of the bytes that a backslash escapes, in order; the last may be just behind the block."""
    slashes = np.flatnonzero(block == _BACKSLASH)
    if not len(slashes):
        return slashes
    order = np.arange(len(slashes))
    begins_run = np.concatenate(([True], np.diff(slashes) > 1))
    since_begin = order - np.maximum.accumulate(np.where(begins_run, order, 0))
    return slashes[since_begin % 2 == 0] + 1


def _leave_out(body: bytes, lists: list[IntArray]) -> Iterator[bytes]:
    """The body with the number of each list in the place of its elements."""
    begin = 0
    for number, bounds in enumerate(lists):
        yield body[begin : int(bounds[0]) + 1] + str(number).encode()
        begin = int(bounds[-1])
    yield body[begin:]


# --- JSON as Python's clients write it -----------------------------------------------------------------------------


def read_json(text: bytes, expected: str, *, place: str = "") -> Any:
    """JSON, and what Python clients send in its place: NaN, Infinity, 1e999 and lone surrogates.

    orjson refuses the whole text for one of these; json reads them, so that only their records are refused.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_leniently(text, expected, place=place)


class _Pairs(tuple[tuple[str, Any], ...]):
    """An object with all its fields, also those that stand there twice."""


def _read_pairs(text: bytes, expected: str) -> _Pairs:
    pairs = _read_leniently(text, expected, object_pairs_hook=_Pairs)
    assert isinstance(pairs, _Pairs)
    return pairs


def _read_leniently(text: bytes, expected: str, *, place: str = "", **options: Any) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig"), **options)
    except UnicodeDecodeError as error:
        raise RequestError(f"the body is not UTF-8 (byte {error.start}{place}): {expected}") from None
    except RecursionError:
        raise RequestError(f"the body is nested too deep: {expected}") from None
    except ValueError as error:
        raise RequestError(f"the body is not JSON ({error}{place}): {expected}") from None


def kind_of(value: Any) -> str:
    """What a JSON value is."""
    if value is None:
        return "null"
    if isinstance(value, _Pairs):
        return "an object"
    names = {dict: "an object", list: "a list", str: "a text", bool: "true/false"}
    return names.get(type(value), "a number")


def too_many(what: str, most: int) -> TooManyRecords:
    return TooManyRecords(f"a body may have {most:,} {what} (feeders.max_records). Send smaller batches.")
