"""Where the lists of a JSON object begin and end, and their commas, found without parsing it."""

from __future__ import annotations

from typing import Any

import numpy as np

from nordiq_watch.errors import RequestError
from nordiq_watch.json_lists.lenient import read_json, too_many
from nordiq_watch.records.arrays import IntArray

PIECE_BYTES = 256 * 1024
"""Also the most that one element may have, and the most that may stand beside the lists."""

_MOST_NESTED = 64

_DEPTH_OF_ELEMENTS = 3

_MOST_LISTS = 1_000

MOST_INSIDE = 4
"""Lists and objects that a record may have inside, in the mean of as many records as there may be."""

_QUOTE, _BACKSLASH, _COMMA = ord('"'), ord("\\"), ord(",")

_STRUCTURAL = np.zeros(256, dtype=np.bool_)
_STRUCTURAL[[ord(symbol) for symbol in '"[]{},']] = True

_STEP = np.zeros(256, dtype=np.int8)
_STEP[[ord("["), ord("{")]] = 1
_STEP[[ord("]"), ord("}")]] = -1


class Scan:
    """Finds the lists that are values of the outermost object, and their commas, block by block: what it keeps of the
    body so far is where it stands.
    """

    def __init__(self, body: bytes, *, most: int, key: str, expected: str, most_inside: int = MOST_INSIDE) -> None:
        self._body = body
        self._most = most
        self._most_inside = most_inside
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
        if self._inside > self._most_inside * self._most:
            raise too_many(f"{self._key} with {self._most_inside} lists or objects inside", self._most)
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
