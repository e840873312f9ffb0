"""`nordiq-watch COMMAND`: finds the command, runs it, and turns a failure into one line and an exit code.

Exit codes: 0 done, 1 failed (one line on stderr says why), 2 a mistake on the command line, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from nordiq_watch import __version__
from nordiq_watch.cli import (
    admin,
    agent,
    check_config,
    completion,
    default_config,
    demo,
    doctor,
    evaluate,
    import_files,
    init,
    install_service,
    key,
    serve,
    servers,
    sign,
    train,
    verify,
    watch,
)
from nordiq_watch.cli.encodings import replace_unknown_characters
from nordiq_watch.cli.parsers import Parser
from nordiq_watch.errors import NordiqError

MODULES: tuple[ModuleType, ...] = (
    serve,
    train,
    evaluate,
    verify,
    sign,
    default_config,
    check_config,
    doctor,
    import_files,
    init,
    install_service,
    admin,
    servers,
    watch,
    key,
    agent,
    demo,
    completion,
)
"""Each offers `add_parser(subparsers)` and `run(args) -> int`, and does heavy imports inside `run`."""

FAILED = 1
INTERRUPTED = 130

_EPILOG = """\
examples:
  nordiq-watch demo                                    from nothing to a hot reload, on data that it makes
  nordiq-watch train --dataset data/ --max-minutes 10  a new version under models/
  nordiq-watch serve --config config.yaml              the daemon
  nordiq-watch models                                  what is live, and why the others are not

Every command has its own --help.
"""


def run() -> NoReturn:
    """The console script."""
    replace_unknown_characters()
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code. SystemExit from argparse for --help and for mistakes."""
    parser, owners = build_parser()
    args = parser.parse_args(argv)
    try:
        code: int = owners[args.command].run(args)
        sys.stdout.flush()
    except NordiqError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return FAILED
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return code


def build_parser() -> tuple[Parser, dict[str, ModuleType]]:
    """The parser, and the module that runs each command."""
    parser = Parser(
        prog="nordiq-watch",
        description="Forecasts for a fleet of servers, with models that go live without a restart.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"nordiq-watch {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    owners: dict[str, ModuleType] = {}
    for module in MODULES:
        module.add_parser(commands)
        owners.update({command: module for command in commands.choices if command not in owners})
    return parser, owners


def _fail(message: str) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return FAILED


def _discard_stdout() -> None:
    """The pipe's reader is gone; buffered output must not fail again when Python exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
