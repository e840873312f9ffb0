"""`nordiq-watch completion`: prints the script for shell completion of commands and options."""

from __future__ import annotations

import argparse

from nordiq_watch.cli.parsers import Subparsers, add_command

SHELLS = ("bash", "zsh", "tcsh")

_EXAMPLES = """\
examples:
  nordiq-watch completion bash > ~/.local/share/bash-completion/completions/nordiq-watch
  nordiq-watch completion zsh > /usr/local/share/zsh/site-functions/_nordiq-watch
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "completion", "print what makes a shell complete commands and options", _EXAMPLES)
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def run(args: argparse.Namespace) -> int:
    import shtab

    from nordiq_watch.cli.main import build_parser

    parser, _ = build_parser()
    print(shtab.complete(parser, shell=args.shell))
    return 0
