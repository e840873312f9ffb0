"""`train`: a dataset becomes one new model directory. What a person reads goes to stderr, the path alone to stdout."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command
from nordiq_watch.errors import MissingPackage

INTERRUPTED = 130
PIPE_COLUMNS = 120  # a pipe has no width of its own

_EPILOG = """\
The dataset is a directory of *.parquet and *.csv files with timestamp, server_name and any of the config's metrics;
status and profile are optional. What a daemon was fed is one, too: state/archive, where it keeps each day; under a
feed that never pauses, the last three time slots are not there yet. What is repaired on the way is said; what cannot
be is named with file and row.

--per-server true makes one model that knows each server by its name, not one model a server: servers that are new
to it are still forecast. --incremental needs the sizes and metrics of the model that it goes on from.

example:
  nordiq-watch train --dataset data/ --epochs 20
  nordiq-watch train --dataset state/archive --epochs 20
  NEW=$(nordiq-watch train --dataset data/ --epochs 5 --incremental) && nordiq-watch verify "$NEW"
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "train", "train a model and drop it, whole, into the models directory", _EPILOG)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="directory of samples")
    parser.add_argument(
        "--epochs", type=_positive, required=True, metavar="N", help="at most; it stops when it gets no better"
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
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="config file (default: ./config.yaml if it is there)"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the new directory's path. DatasetError, ConfigError and OSError as the trainer raises them.

    MissingPackage where only what `serve` needs is installed.
    """
    # Idle threads of torch spin by default: beside a busy daemon that made a batch twenty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from rich.console import Console

    from nordiq_watch.config import find_settings

    try:
        from nordiq_watch.training.trainer import Order, TrainingRun
    except ModuleNotFoundError as error:
        raise MissingPackage(str(error.name).partition(".")[0], extra="train") from error

    settings = find_settings(args.config)
    order = Order(
        dataset=args.dataset,
        models_dir=args.models_dir or settings.models_dir,
        epochs=args.epochs,
        per_server=args.per_server,
        incremental=args.incremental,
    )
    console = Console(stderr=True, highlight=False, markup=False, width=None if sys.stderr.isatty() else PIPE_COLUMNS)
    try:
        directory = TrainingRun(order, settings, console=console).execute()
    except KeyboardInterrupt:
        print("interrupted: no model was written", file=sys.stderr)
        return INTERRUPTED
    print(directory)
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1")
    return int(text)


def _true_or_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text} is neither true nor false")
    return text.lower() == "true"
