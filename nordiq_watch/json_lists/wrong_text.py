"""JSON with texts that are no Unicode, made readable: what is wrong in them is marked.

Strict parsers refuse a whole body for one byte that is not UTF-8, and for one half of a surrogate pair, which
JavaScript writes where a text was cut inside of a character.
"""

from __future__ import annotations

import codecs
import re

WRONG = "\uffff"
"""Marks what is no Unicode in a text. No text has this character otherwise: it is none."""

_ESCAPE = re.compile(r"\\(?:u([dD][89a-fA-F][0-9a-fA-F]{2})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?+|.)", re.DOTALL)
_HIGH = re.compile("[dD][89abAB]")


def mark_wrong_text(json: bytes) -> bytes:
    """The same JSON with WRONG in the place of each wrong byte and each half of a pair; as it is if there are none."""
    return _ESCAPE.sub(_mark_halves, json.decode(errors=_MARK)).encode()


def _mark_halves(escape: re.Match[str]) -> str:
    first, second = escape.groups()
    if first is None or (second is not None and _HIGH.match(first)):
        return escape[0]
    return WRONG if second is None else WRONG + WRONG


def _mark_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return WRONG, error.end


_MARK = "nordiq_watch.mark"
codecs.register_error(_MARK, _mark_byte)
