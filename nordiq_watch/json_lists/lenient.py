"""JSON as Python's clients write it, and the words for what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import orjson

from nordiq_watch.errors import RequestError, TooManyRecords


def read_json(text: bytes, expected: str, *, place: str = "") -> Any:
    """JSON, and what clients send in its place: NaN, Infinity, 1e999, lone surrogates, and text that is not UTF-8, such
    as collectd makes of a directory's name. Of the last each wrong byte is a lone surrogate.

    orjson refuses the whole text for one of these; json reads them, so that only their records are refused.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_leniently(text, expected, place=place)


class _Pairs(tuple[tuple[str, Any], ...]):
    """An object with all its fields, also those that stand there twice."""


def read_pairs(text: bytes, expected: str) -> _Pairs:
    pairs = _read_leniently(text, expected, object_pairs_hook=_Pairs)
    assert isinstance(pairs, _Pairs)
    return pairs


def _read_leniently(text: bytes, expected: str, *, place: str = "", **options: Any) -> Any:
    try:
        return json.loads(text.decode("utf-8-sig", "surrogateescape"), **options)
    except RecursionError:
        raise RequestError(f"the body is nested too deep: {expected}") from None
    except ValueError as error:
        what = _find_wrong_byte(text) or f"is not JSON ({error}"
        raise RequestError(f"the body {what}{place}): {expected}") from None


def _find_wrong_byte(text: bytes) -> str | None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start}"
    return None


def is_utf8(text: str) -> bool:
    """False for a text with lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
