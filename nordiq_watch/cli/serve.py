"""`nordiq-watch serve`: the daemon in the foreground, until a signal ends it."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command

_EXAMPLE = """\
example:
  nordiq-watch serve --config config.yaml

Without --config, ./config.yaml is read if there is one; else the defaults are used, with models, state, logs and the
key in this directory.
SIGTERM and SIGINT stop it: requests in flight are answered, nothing accepted is lost.
SIGHUP reads keys, limits and log settings again, says what needs a restart, and looks for the latest model.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "serve", "run the daemon", _EXAMPLE)
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings; else ./config.yaml, if there is one")


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 0 after a clean stop."""
    # Idle threads of torch spin by default, and would take the cores from the threads that answer requests.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from nordiq_watch.config.load import find_settings
    from nordiq_watch.daemon import Daemon
    from nordiq_watch.host.logs import configure_logging

    settings = find_settings(args.config)
    configure_logging(settings, must_open=False)
    daemon = Daemon(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    signal.signal(signal.SIGHUP, lambda *_: daemon.reload_settings())
    daemon.run()
    return 0
