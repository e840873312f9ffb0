"""`nordiq-watch default-config`: prints the commented config file as a starting point."""

from __future__ import annotations

import argparse

from nordiq_watch.cli.parsers import Subparsers, add_command

_EXAMPLE = """\
example:
  nordiq-watch default-config > config.yaml

The daemon works without a config file; write one for what you want otherwise.
"""


def add_parser(subparsers: Subparsers) -> None:
    add_command(
        subparsers, "default-config", "print the config file with every key, its default and a comment", _EXAMPLE
    )


def run(_: argparse.Namespace) -> int:
    from nordiq_watch.host.shipped import read_default_config

    print(read_default_config(), end="")
    return 0
