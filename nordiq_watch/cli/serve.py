"""`nordiq-watch serve`: the daemon in the foreground, until a signal ends it."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from typing import Any

_EXAMPLE = """\
example:
  nordiq-watch serve --config config.yaml

SIGTERM and SIGINT stop it: requests in flight are answered, nothing accepted is lost.
SIGHUP reads the keys and the log level again and looks for the latest model.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    parser = subparsers.add_parser("serve", help="run the daemon", description="Runs the daemon.", epilog=_EXAMPLE)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="settings (default: config.yaml)")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 0 after a clean stop."""
    from nordiq_watch.config import load_settings
    from nordiq_watch.daemon import Daemon
    from nordiq_watch.host.logs import configure_logging

    settings = load_settings(args.config)
    configure_logging(settings)
    daemon = Daemon(settings, config_file=args.config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload_settings())
    daemon.run()
    return 0
