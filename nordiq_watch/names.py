"""One rule for server names from all sources: the feed, collectors, datasets, URLs.

Names that look alike are one name: they are in Unicode's normal form C, without surrounding blanks, and contain no
invisible characters. Upper and lower case differ.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAME_LENGTH = 255

RESERVED = {
    "*": "stands for the whole fleet",
    "current": "is what /predictions/current means",
}
"""Names that no server may have, and why."""

_SHOWN = 40
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x10000)))) + "\N{ZERO WIDTH NO-BREAK SPACE}"
_MOST_COMPOSED = 4
"""Largest number of characters that the normal form merges into one."""
_MOST_MARKS = 30
"""As in Unicode's Stream-Safe Text Format, https://unicode.org/reports/tr15/#Stream_Safe_Text_Format."""
_PLAIN = re.compile(r"[!-~]+")
_WRONG_BYTES = re.compile("[\udc80-\udcff]")
"""What Python makes of bytes that are not UTF-8."""
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_INVISIBLE_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Fillers, variation selectors and the Braille blank: letters and marks by category, but invisible."""


def tidy_name(text: str) -> str:
    """The normalised name for `text`; `find_fault` says whether it is valid.

    A name that is too long, or has too many marks on a letter, is returned unchanged: normalising takes quadratic time
    in a run of marks.
    """
    if _PLAIN.fullmatch(text):
        return text
    stripped = text.strip(_BLANKS)
    if len(stripped) > _MOST_COMPOSED * MAX_NAME_LENGTH or _longest_run_of_marks(stripped) > _MOST_MARKS:
        return stripped
    return unicodedata.normalize("NFC", stripped)


def find_fault(name: str) -> str | None:
    """Why a tidy name is invalid, worded to follow "server_name"; None for a valid one."""
    if len(name) > MAX_NAME_LENGTH:
        return f"has {len(name)} characters; must have at most {MAX_NAME_LENGTH}"
    must = _find_rule(name)
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    return None if must is None else f"is {shown!r}; {must}"


def _find_rule(name: str) -> str | None:
    """The rule that the name breaks."""
    if not name:
        return "must be a text that is not empty"
    if name in RESERVED:
        return f"must be another one: this one {RESERVED[name]}"
    if _WRONG_BYTES.search(name):
        return "must be in UTF-8"
    if (hidden := find_invisible(name)) is not None:
        return f"must be without control characters and other invisible ones, such as {hidden}"
    if _longest_run_of_marks(name) > _MOST_MARKS:
        return f"must have at most {_MOST_MARKS} marks on a letter"
    if {".", ".."}.intersection(name.split("/")):
        return "must have no '.' or '..' between slashes: no URL can name it"
    if not any(one.isalnum() or unicodedata.category(one) == "So" for one in name):
        return "must have a letter or a digit"
    return None


def _longest_run_of_marks(text: str) -> int:
    if text.isascii():
        return 0
    longest = run = 0
    for character in text:
        run = run + 1 if unicodedata.combining(character) else 0
        longest = max(longest, run)
    return longest


def find_invisible(text: str) -> str | None:
    """The first control, format or other invisible character, such as `U+202E`; None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        if unicodedata.category(character) in _INVISIBLE_CATEGORIES or _INVISIBLE_LETTERS.match(character):
            return f"U+{ord(character):04X}"
    return None
