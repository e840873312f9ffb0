"""Shared pieces of the commands' argument parsers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

USAGE_EXIT = 2

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What `add_parser` of a command's module gets: the place to add its parser to."""


class Parser(argparse.ArgumentParser):
    """Reports mistakes in one line on stderr, keeps the layout of examples, and accepts no abbreviations.

    Sub-parsers use the same class, so every command behaves alike.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_EXIT, f"error: {message}. See `{self.prog} --help`.\n")


def add_command(subparsers: Subparsers, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """A command's parser. `summary` starts in lower case, as in the list of commands; `examples` ends the help."""
    description = f"{summary[0].upper()}{summary[1:]}."
    return subparsers.add_parser(name, help=summary, description=description, epilog=examples)


def positive_seconds(text: str) -> float:
    """A positive number of seconds; argparse reports the error."""
    return _positive(text, "seconds")


def positive_minutes(text: str) -> float:
    """A positive number of minutes; argparse reports the error."""
    return _positive(text, "minutes")


def _positive(text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of {unit} above 0")
    return number


def tcp_port(text: str) -> int:
    """A port number to listen on."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to 65535")
    return int(text)


def add_connection(parser: argparse.ArgumentParser) -> None:
    """`--url`, `--key-file` and `--config`: how to find the daemon and its key (see `client.connect`)."""
    group = parser.add_argument_group("the daemon")
    group.add_argument(
        "--url", help="its address; else NORDIQ_URL, else the server section of the config, else http://127.0.0.1:8000"
    )
    group.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with its API key; else auth.key_file of the config. NORDIQ_API_KEY in the environment wins",
    )
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="its config file; else ./config.yaml, if there is one"
    )
