"""CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_BEGIN_FORMULAS = frozenset("=+-@\N{MINUS SIGN}")
_NOT_SEEN = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """One line per row, under the columns' names. Names come from feeders, so cells must not become formulas."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_defuse(row.get(column)) for column in columns] for row in rows)
    return text.getvalue()


def _defuse(value: Any) -> Any:
    """Prefixes text that a spreadsheet might run as a formula with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and _may_be_formula(value) else value


def _may_be_formula(text: str) -> bool:
    """Spreadsheets trim blanks, and some treat the wide forms of the signs as the signs. A tab or line break in front
    is suspicious enough.
    """
    if text[:1] in ("\t", "\r", "\n"):
        return True
    for character in text:
        if unicodedata.category(character) not in _NOT_SEEN:
            return unicodedata.normalize("NFKC", character)[:1] in _BEGIN_FORMULAS
    return False
