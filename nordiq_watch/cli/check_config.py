"""`nordiq-watch check-config`: checks a config file before the daemon uses it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command
from nordiq_watch.errors import ConfigError

_EXAMPLE = """\
example:
  nordiq-watch check-config --config config.yaml

Exit code 0: it can be used, and what differs from the defaults is listed. 1: it cannot, and the line says why.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "check-config", "say whether a config file can be used", _EXAMPLE)
    parser.add_argument("--config", type=Path, default=Path("config.yaml"), help="the file (default: config.yaml)")


def run(args: argparse.Namespace) -> int:
    """0 if the file is usable. Otherwise raises ConfigError with key, value and allowed values."""
    from nordiq_watch.alerting.request_headers import check_headers
    from nordiq_watch.config.changes import list_changes, needs_restart
    from nordiq_watch.config.load import load_settings
    from nordiq_watch.config.schema import Config
    from nordiq_watch.web.access import check_public
    from nordiq_watch.web.collectors import build_translators

    settings = load_settings(args.config)
    try:  # what a start checks only when it builds the parts that know
        check_public(settings.config.auth.public)
        check_headers(settings.config.alerts.webhook.headers, where="alerts.webhook.headers")
        build_translators(settings.config, max_servers=1)  # their rules are what is checked
    except ConfigError as error:
        raise ConfigError(f"{args.config}: {error}") from None
    changes = list_changes(Config(), settings.config)
    print(f"{args.config}: can be used; {len(changes)} keys differ from the defaults")
    for key in changes:
        print(f"  {key} {'(takes a restart)' if needs_restart(key) else '(taken at SIGHUP)'}")
    return 0
