"""`train`: turns a dataset into a new model directory. Messages go to stderr, only the path to stdout."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nordiq_watch.cli.parsers import Subparsers, add_command, positive_minutes
from nordiq_watch.cli.reading import add_reading, forms_of
from nordiq_watch.cli.summary_lines import describe
from nordiq_watch.errors import MissingPackage

if TYPE_CHECKING:
    from nordiq_watch.training.interruption import StopRequest
    from nordiq_watch.training.trainer import TrainingRun

INTERRUPTED = 130
PIPE_COLUMNS = 120  # a pipe has no width of its own

_EPILOG = """\
The dataset is a directory of *.parquet and *.csv files with timestamp, server_name and any of the config's metrics;
status and profile are optional. Sub-folders are read as well, and CSV packed as .gz, .bz2, .zst or .lz4; hidden files
are passed over, and others are named. What a daemon was fed is one, too: state/archive, where it keeps each day; under
a feed that never pauses, the last three time slots are not there yet. What is repaired on the way is said; what cannot
be is named with file and row.

--per-server true makes one model that knows each server by its name, not one model a server: servers that are new
to it are still forecast. --incremental needs the sizes and metrics of the model that it goes on from.

It takes 15 minutes, or what --max-minutes, --epochs or training.max_seconds say: the first limit that is reached ends
it. It may end earlier, once it gets no better.

Ctrl-C (exit code 130) or SIGTERM (143) end it between two batches. What was trained stays in
models/.training_checkpoint, which is also written every minute; the same command with --resume goes on from there.

A model that is worse than repeating the last value is not dropped: exit code 1, and it stays in models/.refused_NAME,
which no daemon loads. --drop-anyway drops it all the same. What was written is read back and tried as a daemon would:
what cannot be served is not dropped either, with or without --drop-anyway.

example:
  nordiq-watch train --dataset data/
  nordiq-watch train --dataset state/archive --max-minutes 60
  NEW=$(nordiq-watch train --dataset data/ --max-minutes 5 --incremental) && nordiq-watch verify "$NEW"
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "train", "train a model and drop it, whole, into the models directory", _EPILOG)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="directory of samples")
    parser.add_argument(
        "--max-minutes",
        type=positive_minutes,
        metavar="M",
        help="ends with a model after so long, loading and writing included (default: 15 if no limit is given)",
    )
    parser.add_argument(
        "--epochs", type=_positive, metavar="N", help="goes over the data at most so often; for experts"
    )
    parser.add_argument("--models-dir", type=Path, metavar="DIR", help="where to drop it (default: models.dir)")
    parser.add_argument(
        "--per-server",
        type=_true_or_false,
        default=False,
        metavar="true/false",
        help="whether the model tells servers apart by name (default: false)",
    )
    parser.add_argument("--incremental", action="store_true", help="go on from the newest model's weights")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint of an interrupted training")
    parser.add_argument(
        "--drop-anyway", action="store_true", help="drop the model even if it is worse than repeating the last value"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config file (default: ./config.yaml if it is there)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what the dataset was found to be, and train nothing"
    )
    add_reading(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the new directory's path; with --dry-run what the dataset is. Raises what the trainer raises, but for an
    interruption, which is 130 or 143.

    MissingPackage if only the dependencies of `serve` are installed.
    """
    started = time.monotonic()
    if args.dry_run:
        print("\n".join(_describe_dataset(args)))
        return 0
    from nordiq_watch.training.interruption import Interrupted, StopRequest

    stop, training = StopRequest(), None
    try:
        with stop.listening():
            training = _prepare(args, stop, started)
            directory = training.execute()
    except KeyboardInterrupt as interruption:
        print(_describe_interruption(training.kept if training else None), file=sys.stderr)
        return interruption.exit_code if isinstance(interruption, Interrupted) else INTERRUPTED
    print(directory)
    return 0


def _prepare(args: argparse.Namespace, stop: StopRequest, started: float) -> TrainingRun:
    # Idle threads of torch spin by default: beside a busy daemon that made a batch twenty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rich.console import Console

    from nordiq_watch.config.load import find_settings

    try:
        from nordiq_watch.training.order import Order
        from nordiq_watch.training.trainer import TrainingRun
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error

    from nordiq_watch.reload.proof import prove_written

    settings = find_settings(args.config)
    order = Order(
        dataset=args.dataset,
        models_dir=args.models_dir or settings.models_dir,
        epochs=args.epochs,
        max_seconds=None if args.max_minutes is None else args.max_minutes * 60.0,
        per_server=args.per_server,
        incremental=args.incremental,
        drop_anyway=args.drop_anyway,
        resume=args.resume,
        forms=forms_of(args),
    )
    console = Console(stderr=True, highlight=False, markup=False, width=None if sys.stderr.isatty() else PIPE_COLUMNS)
    return TrainingRun(order, settings, console=console, prove=prove_written, started=started, stop=stop)


def _describe_dataset(args: argparse.Namespace) -> list[str]:
    from nordiq_watch.config.load import find_settings

    try:
        from nordiq_watch.importing.sources import read_history
        from nordiq_watch.importing.summary import summarize
        from nordiq_watch.training.repairs import describe_ignored
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error
    config = find_settings(args.config).config
    table = read_history([args.dataset], config, forms=forms_of(args))
    names = sorted({name for given in table.labels.values() for name in given.labels})
    if names:
        table = replace(table, notes=(*table.notes, describe_ignored(names)))
    return describe(summarize(table, now=time.time()), "nothing, because of --dry-run")


def _describe_interruption(kept: Path | None) -> str:
    if kept is None:
        return "interrupted: no model was written"
    return f"interrupted: no model was written; what was trained is in {kept}, the same command with --resume goes on"


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"
