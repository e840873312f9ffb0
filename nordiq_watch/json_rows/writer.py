"""Writes rows, in the fastest way that this installation has."""

from __future__ import annotations

from collections.abc import Sequence

from nordiq_watch.json_rows.native import load_writer, write_natively
from nordiq_watch.json_rows.plain import write_plainly
from nordiq_watch.json_rows.steps import Step, Written

_FEW = 8
"""Rows that Python has written before the steps are laid out for C++: about 40 µs each, and 300 µs."""


def write_rows(steps: Sequence[Step], rows: int) -> Written:
    """Every row, one after the other, by the same steps."""
    library = None if rows < _FEW else load_writer()
    return write_plainly(steps, rows) if library is None else write_natively(library, steps, rows)
