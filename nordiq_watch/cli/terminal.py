"""Readable tables, on a terminal and in a pipe. A daemon's text is shown literally, never as markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nordiq_watch.api.enums import ReloadOutcome, VersionState

PIPE_COLUMNS = 1000  # a pipe has no width: nothing is folded or cut there

STYLES: dict[str, str] = {
    VersionState.LIVE: "bold green",
    VersionState.QUARANTINED: "yellow",
    VersionState.INCOMPLETE: "yellow",
    VersionState.REJECTED: "red",
    ReloadOutcome.LOADED: "green",
    ReloadOutcome.REJECTED: "red",
    ReloadOutcome.NOT_FOUND: "red",
}
"""Styles for words of the API in the columns below; other words are plain."""

STYLED_COLUMNS = ("state", "outcome")


def open_console() -> Console:
    """A console for stdout: as wide as the terminal, or as wide as needed in a pipe."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[Any]], *, console: Console) -> None:
    """A table with one line per row; the last column wraps if the terminal is narrow."""
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading != headings[-1], overflow="fold")
    for row in rows:
        table.add_row(*(_styled(value, heading) for value, heading in zip(row, headings, strict=True)))
    console.print(Text(title, style="italic"))
    print_grid(table, console)


def print_facts(facts: Mapping[str, Any], *, console: Console) -> None:
    """Names and values; a section's keys are joined with a dot."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in _flat(facts).items():
        grid.add_row(name, cell(value))
    print_grid(grid, console)


def print_grid(table: Table, console: Console) -> None:
    """Prints the table; in a pipe without the blanks that pad its last column."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())


def cell(value: Any) -> Text:
    """Formats a value for people."""
    words = {None: "-", True: "yes", False: "no"}
    if value is None or isinstance(value, bool):
        return Text(words[value])
    if isinstance(value, float):
        return Text(f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}")
    if isinstance(value, list | tuple):
        return Text(", ".join(str(item) for item in value) or "-")
    return Text(str(value))


def relative(ratio: float | None) -> str:
    """An error relative to another: 0.86 is `-14.0 %`."""
    return "-" if ratio is None else f"{(ratio - 1) * 100:+.1f} %"


def _styled(value: Any, heading: str) -> Text:
    text = cell(value)
    text.style = STYLES.get(text.plain, "") if heading in STYLED_COLUMNS else ""
    return text


def _flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
