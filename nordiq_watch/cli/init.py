"""`nordiq-watch init`: from one's own history to the first forecast, in one command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command, positive_minutes, tcp_port
from nordiq_watch.cli.prometheus_options import add_prometheus
from nordiq_watch.cli.reading import add_reading
from nordiq_watch.zones import find_zone

DEFAULT_MINUTES = 5.0
DAY_SECONDS = 86_400

_EPILOG = """\
It works in this directory: looks at the history, writes config.yaml with what differs from the defaults, makes the
keys, starts the daemon in the background, puts the history into its window and into data/history, trains a model of it,
and shows the first forecast. At a terminal it asks for what is not said; --yes asks nothing.

Each step is passed over where it was done before, so that the same command goes on after a failure. A config.yaml that
is there is never changed without --force, which keeps the old one as config.yaml.before.

examples:
  nordiq-watch init --prometheus http://prometheus.example.net:9090 --max-minutes 3 --yes
  nordiq-watch init --dataset export/ --timezone Europe/Berlin --yes
  nordiq-watch init --agent --yes                          this machine alone, from now on
  nordiq-watch init                                        asks
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "init", "first start: history in, a model, the daemon, a forecast", _EPILOG)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dataset", type=Path, metavar="DIR", help="history in files: CSV or Parquet")
    source.add_argument("--agent", action="store_true", help="no history: measure this machine from now on")
    parser.add_argument(
        "--interval",
        type=_interval,
        metavar="S",
        help="seconds of a slot (default: 300, or the pace of the history if that is longer)",
    )
    parser.add_argument("--port", type=tcp_port, help="the daemon's port (default: 8000)")
    parser.add_argument(
        "--max-minutes",
        type=positive_minutes,
        default=DEFAULT_MINUTES,
        metavar="M",
        help="how long the training may take (default: %(default)g)",
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing, for scripts")
    parser.add_argument("--force", action="store_true", help="write config.yaml and data/history anew")
    add_prometheus(parser)
    add_reading(parser, labels=True)
    parser.set_defaults(timezone=None, refuse=parser.error)


def run(args: argparse.Namespace) -> int:
    """0 once there is a forecast, or nothing but time is missing for one; 1 if no model could be trained or the person
    said no. Raises NordiqError and OSError.
    """
    from nordiq_watch.cli.first_start.config_file import NAME as CONFIG
    from nordiq_watch.cli.first_start.order import Source, order_of
    from nordiq_watch.cli.first_start.steps import FirstStart
    from nordiq_watch.cli.terminal import open_console

    if args.prometheus and (args.dataset or args.agent):
        args.refuse("give one of --prometheus, --dataset and --agent")
    ask = _ask if sys.stdin.isatty() and not args.yes else None
    order = order_of(args, ask=ask, configured=Path(CONFIG).exists() and not args.force)
    args.prometheus = order.place if order.source is Source.PROMETHEUS else None
    args.timezone = find_zone(order.zone or "UTC")
    start = FirstStart(
        order,
        args,
        Path(),
        console=open_console(),
        consent=lambda question: ask is None or _agrees(question),
    )
    return 0 if start.run() else 1


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        raise KeyboardInterrupt from None


def _agrees(question: str) -> bool:
    return _ask(f"{question} [Y/n]: ").lower() in ("", "y", "yes")


def _interval(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= DAY_SECONDS):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of seconds from 1 to {DAY_SECONDS}")
    return int(text)
