"""CSV that people open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BEGIN_FORMULAS = frozenset("=+-@\N{MINUS SIGN}")
_NOT_SEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A line per row, under the columns' names. Names in it come from whatever feeds: no cell is a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_defuse(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _defuse(value: Any) -> Any:
    """Text that a spreadsheet might run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and _may_be_formula(value) else value


def _may_be_formula(text: str) -> bool:
    """Spreadsheets trim blanks, and some take the wide forms of the signs for the signs. A tab or line break in front
    is enough to be suspect.
    """
    if text[:1] in ("\t", "\r", "\n"):
        return True
    for character in text:
        if unicodedata.category(character) not in _NOT_SEEN:
            return unicodedata.normalize("NFKC", character)[:1] in _BEGIN_FORMULAS
    return False
