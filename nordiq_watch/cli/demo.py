"""`nordiq-watch demo`: from nothing to a live forecast and a hot reload, on a synthetic fleet."""

from __future__ import annotations

import argparse
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command, tcp_port

DEFAULT_FOLDER = Path("demo")

_EPILOG = """\
It makes eight days of a synthetic fleet, trains a small model, starts the real daemon, feeds it the last day, shows
the forecast, trains a second model and shows how that goes live by itself while a client goes on reading. That takes
about two minutes; then the fleet lives on until Ctrl-C, with a sample every 5 seconds and an incident from time to
time, and it tells which alerts begin and end and which forecasts came true. To be watched, this fleet lives fast: its
days last 24 minutes. All of it stays in one folder, which a later run makes anew. It needs the training packages.

examples:
  nordiq-watch demo                            ends with the daemon running, until Ctrl-C
  nordiq-watch demo --exit                     stops the daemon at the end, for scripts
  nordiq-watch demo --dir /tmp/try --port 9000
"""


def add_parser(subparsers: Subparsers) -> None:
    summary = "show everything, from nothing to a hot reload, on a fleet that does not exist"
    parser = add_command(subparsers, "demo", summary, _EPILOG)
    parser.add_argument(
        "--dir", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="where it works (default: %(default)s)"
    )
    parser.add_argument("--port", type=tcp_port, help="the daemon's port (default: any free one)")
    parser.add_argument("--exit", action="store_true", help="stop the daemon and end when everything was shown")


def run(args: argparse.Namespace) -> int:
    """0 if all steps succeeded. Raises NordiqError if a step failed; the daemon is stopped in any case."""
    from nordiq_watch.cli.demo_steps import show

    show(args.dir, port=args.port, end_after=args.exit)
    return 0
