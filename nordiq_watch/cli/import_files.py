"""`import`: files of other programs → a daemon's window and archive, a dataset, or what they would be."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command, add_connection
from nordiq_watch.cli.prometheus_options import add_prometheus, fetched
from nordiq_watch.cli.reading import add_reading, forms_of
from nordiq_watch.cli.summary_lines import describe
from nordiq_watch.errors import DatasetError, MissingPackage

if TYPE_CHECKING:
    from nordiq_watch.cli.history_target import Written
    from nordiq_watch.config.settings import Settings
    from nordiq_watch.importing.slot_table import SlotTable

_EPILOG = """\
Reads Parquet and CSV, single files and folders with all that is in them, also packed as .gz, .bz2, .zst or .lz4. A row
is a server at a time, or one value with the name of its metric (Zabbix' host, key, clock, value); or each column is a
server (--wide). Columns are found by the names that other programs have for them, and what is guessed is said. CSV may
be separated by commas, semicolons, tabs or bars, and have decimal commas. Times are ISO 8601, or Unix time in seconds
to nanoseconds. Folders such as server_name=web1/ name the server of all that is in them. InfluxDB's line protocol is
read from *.lp, *.line and *.influx, what sar recorded from the JSON of sadf -j.

--prometheus fetches the raw samples of all series that a rule of remote write knows, and makes the slots of them that
the daemon would have. One that is broken off goes on where it ended.

The values go through the rules of the feed and lie on the grid of window.interval_seconds. They go into the window and
the archive of the daemon, which forecasts at once, and needs a key of the role admin; while none runs, into its files.
What was measured there stays, and importing twice changes nothing. --out writes a dataset for train instead.

example:
  nordiq-watch import export/ --dry-run
  nordiq-watch import export/
  nordiq-watch import --prometheus http://prometheus.example.net:9090 --days 14
  nordiq-watch import export.csv.gz --column cpu_user_pct=load_pct --timezone Europe/Berlin --out data/
  nordiq-watch import cpu.csv --wide cpu_user_pct --out data/
  nordiq-watch import shares.csv --column 'mem_used_pct=mem*100' --out data/
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers, "import", "bring history of other programs into the daemon, or into a dataset", _EPILOG
    )
    parser.add_argument("paths", type=Path, nargs="*", metavar="PATH", help="a file or a folder")
    parser.set_defaults(refuse=parser.error)
    add_prometheus(parser)
    add_reading(parser, labels=True)
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--out", type=Path, metavar="DIR", help="write a dataset into this new directory instead")
    wanted.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON, for scripts")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """0 once all is read and written. Raises DatasetError, ConfigError, ClientError, MissingPackage and OSError."""
    from nordiq_watch.config.load import find_settings

    if bool(args.paths) == bool(args.prometheus):
        args.refuse("give files and folders, or --prometheus URL")
    if args.prometheus and (args.column or args.wide or args.label):
        args.refuse("--column, --wide and --label are for files; feeders.prometheus.metrics of the config maps series")
    try:
        from nordiq_watch.importing.dataset_writer import check_free
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error

    settings = find_settings(args.config)
    if args.out is not None:
        check_free(args.out)
    if args.prometheus:
        with fetched(args, settings, keep=args.dry_run) as table:
            _write(table, args, settings)
    else:
        _write(_read(args, settings), args, settings)
    return 0


def _read(args: argparse.Namespace, settings: Settings) -> SlotTable:
    from nordiq_watch.importing.sources import read_history

    return read_history(args.paths, settings.config, forms=forms_of(args))


def _write(table: SlotTable, args: argparse.Namespace, settings: Settings) -> None:
    """Where the options say, and says what it was."""
    from nordiq_watch.importing.dataset_writer import write_dataset
    from nordiq_watch.importing.summary import summarize

    summary = summarize(table, now=time.time())
    if args.out is not None:
        write_dataset(table, args.out)
        written = f"{summary.rows:,} rows to {args.out}"
    elif args.dry_run:
        written = "nothing, because of --dry-run"
        written += "; what was fetched is kept for the import" if args.prometheus else ""
    else:
        written = _into_daemon(table, args, settings)
    if args.json:
        print(json.dumps({**dataclasses.asdict(summary), "written": written}, indent=2))
    else:
        print("\n".join(describe(summary, written)))


def _into_daemon(table: SlotTable, args: argparse.Namespace, settings: Settings) -> str:
    """What became of it, in words. ClientError, ConfigError, StorageError; DatasetError if the archive keeps none."""
    from nordiq_watch.cli.history_target import open_target, write_history
    from nordiq_watch.importing.slot_batches import batches_of, count_older
    from nordiq_watch.ingest.build import kept_days
    from nordiq_watch.storage.archive import oldest_kept

    config = settings.config
    since = oldest_kept(time.time(), days=kept_days(config), interval_seconds=config.window.interval_seconds)
    older = count_older(table, since)
    if older == len(table.slots):
        raise DatasetError(
            f"all {older:,} slots are older than the {kept_days(config)} days that archive.days keeps; "
            "--out DIR writes a dataset of them"
        )
    with open_target(args, settings) as target:
        written = write_history(target, batches_of(table, config.metrics, since=since), table.labels)
    return _describe_written(written, older, place=target.place, days=kept_days(config))


def _describe_written(written: Written, older: int, *, place: str, days: int) -> str:
    said = [f"{written.window:,} slots into the window and {written.archive:,} into the archive of {place}"]
    for count, what in (
        (written.unchanged, "had their values already, and keep them"),
        (written.unfinished, "are not over, and left to the feed"),
        (written.refused, "are of servers that the window has no room for (window.max_servers)"),
        (written.rejected, "were rejected by the daemon; are its config and this one alike?"),
        (older, f"are older than the {days} days of archive.days; --out DIR writes a dataset of them"),
    ):
        said += [f"{count:,} {what}"] if count else []
    return "; ".join(said)
