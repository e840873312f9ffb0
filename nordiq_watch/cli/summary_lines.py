"""What history of other programs was found to be, in lines for a person."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nordiq_watch.importing.summary import Summary

_WIDTH = 80
_LABEL = 10


def describe(summary: Summary, written: str) -> list[str]:
    """Lines of at most 80 columns. written: what was, in words."""
    lines = [line for note in summary.notes for line in _wrap("note", note)]
    lines += _wrap("servers", f"{len(summary.servers):,}: {_some(summary.servers)}")
    lines += _wrap("span", f"{summary.first} to {summary.last}")
    pace = "unknown" if summary.pace_seconds is None else f"{summary.pace_seconds} s"
    slots = f"{summary.rows:,} slots of {summary.interval_seconds} s (window.interval_seconds)"
    lines += _wrap("interval", f"{pace} between the rows of a server as a rule; {slots}")
    gaps = f"{summary.gaps:,}, {summary.missing_slots:,} slots in all; the longest {summary.longest_gap_seconds:,} s"
    lines += _wrap("gaps", gaps if summary.gaps else "none")
    for metric in summary.metrics:
        lines += _wrap("metric", f"{metric.name}: {metric.low:.4g} to {metric.high:.4g}")
        if metric.looks_like_share:
            said = f"--column '{metric.name}=COLUMN*100'"
            lines += _wrap("", f"looks like shares of 1 rather than percent; if so, {said}")
    lines += _wrap("rows", "the first ones:") + _draw(summary.first_rows)
    return lines + _wrap("written", written)


def _wrap(label: str, text: str) -> list[str]:
    indent = " " * _LABEL
    return textwrap.wrap(text, _WIDTH, initial_indent=label.ljust(_LABEL), subsequent_indent=indent)


def _some(servers: tuple[str, ...]) -> str:
    return ", ".join(servers[:8]) + (", …" if len(servers) > 8 else "")


def _draw(rows: dict[str, list[str | float | None]]) -> list[str]:
    """A table as wide as fits; columns that do not fit are left out."""
    drawn: list[str] = []
    for name, cells in rows.items():
        texts = [name, *("-" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells)]
        width = max(map(len, texts))
        wider = [f"{line}  {text.ljust(width)}" for line, text in zip(drawn or [""] * len(texts), texts, strict=True)]
        if len(wider[0]) > _WIDTH:
            break
        drawn = wider
    return [line.rstrip() for line in drawn]
