"""`import`: files of other programs → a dataset, or what such a dataset would be."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command
from nordiq_watch.cli.reading import add_reading, forms_of
from nordiq_watch.errors import MissingPackage

if TYPE_CHECKING:
    from nordiq_watch.importing.summary import Summary

_WIDTH = 80
_LABEL = 10

_EPILOG = """\
Reads Parquet and CSV, single files and folders with all that is in them, also packed as .gz, .bz2, .zst or .lz4. A row
is a server at a time, or one value with the name of its metric (Zabbix' host, key, clock, value); or each column is a
server (--wide). Columns are found by the names that other programs have for them, and what is guessed is said. CSV may
be separated by commas, semicolons, tabs or bars, and have decimal commas. Times are ISO 8601, or Unix time in seconds
to nanoseconds. Folders such as server_name=web1/ name the server of all that is in them.

The values go through the rules of the feed and lie on the grid of window.interval_seconds: train reads them as a daemon
would have been fed them. --out is there as a whole or not at all.

example:
  nordiq-watch import export/ --dry-run
  nordiq-watch import export.csv.gz --column cpu_user_pct=load_pct --timezone Europe/Berlin --out data/
  nordiq-watch import cpu.csv --wide cpu_user_pct --out data/
  nordiq-watch import shares.csv --column 'mem_used_pct=mem*100' --out data/
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "import", "make a dataset of files that other programs wrote", _EPILOG)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="a file or a folder")
    add_reading(parser)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=Path, metavar="DIR", help="write the dataset into this new directory")
    wanted.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON, for scripts")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings; else ./config.yaml, if there is one")


def run(args: argparse.Namespace) -> int:
    """0 once all is read, and written with --out. Raises DatasetError, ConfigError, MissingPackage and OSError."""
    from nordiq_watch.config.load import find_settings

    try:
        from nordiq_watch.importing.dataset_writer import check_free, write_dataset
        from nordiq_watch.importing.slot_table import read_slots
        from nordiq_watch.importing.summary import summarize
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error

    config = find_settings(args.config).config
    if args.out is not None:
        check_free(args.out)
    table = read_slots(
        args.paths,
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        aggregates=config.window.aggregate,
        forms=forms_of(args),
    )
    summary = summarize(table)
    if args.out is not None:
        write_dataset(table, args.out)
    if args.json:
        print(json.dumps(dataclasses.asdict(summary), indent=2))
    else:
        print("\n".join(describe(summary, args.out)))
    return 0


def describe(summary: Summary, out: Path | None) -> list[str]:
    """Lines of at most 80 columns."""
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
    lines += _wrap("written", f"{summary.rows:,} rows to {out}" if out else "nothing; --out DIR writes the dataset")
    return lines


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
