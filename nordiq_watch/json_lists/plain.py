"""A list in its plainest form is cut into pieces without being scanned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

_BLANKS = rb"[ \t\r\n]{0,64}"
_PLAIN_BYTES = 512 * 1024
"""More than PIECE_BYTES, because a parser that knows its type makes few objects of them. A long number is read in a
time that grows with its square, so that a megabyte of them takes 30 ms."""

_TAIL = re.compile(rb"\]" + _BLANKS + rb"\}" + _BLANKS)

_TAIL_BYTES = 150

_SEAM = re.compile(rb"\}" + _BLANKS + rb",")


@lru_cache(maxsize=8)
def _head_of(key: str) -> re.Pattern[bytes]:
    return re.compile(
        _BLANKS + rb"\{" + _BLANKS + b'"' + re.escape(key.encode()) + b'"' + _BLANKS + b":" + _BLANKS + rb"\["
    )


def cut_plainly(body: bytes, key: str) -> Iterable[bytes | memoryview] | None:
    """The list of a body that holds nothing else, as JSON lists of about a megabyte; None for any other body.

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
