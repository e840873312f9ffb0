"""`nordiq-watch install-service`: writes the systemd files for this installation of the program."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command

_EXAMPLE = """\
examples:
  nordiq-watch install-service --dry-run        the files that would be written, with their text
  sudo nordiq-watch install-service             into /etc; then it says what to type next
  nordiq-watch install-service --prefix /mnt/image --program /opt/nordiq-watch/.venv/bin/nordiq-watch

The units run the program that this command belongs to. Nothing is started, and no user is made: it prints the commands
for that. A file that differs from what would be written is kept, and then nothing is written at all, unless --force.
config.yaml is written where there is none, and never replaced. Changes of your own to a unit: `systemctl edit`.
"""

_DATA_DIR = "/var/lib/nordiq-watch"
_SERVICES = "nordiq-watch.socket nordiq-watch.service nordiq-watch-train.timer"
_UNIT_MODE = 0o644
_CONFIG_MODE = 0o640  # the address of a webhook may hold a password


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "install-service", "write systemd's files for this installation", _EXAMPLE)
    parser.add_argument("--dry-run", action="store_true", help="print the files and write nothing")
    parser.add_argument(
        "--prefix", type=Path, default=Path("/"), metavar="DIR", help="write below DIR, as if it were / (default: /)"
    )
    parser.add_argument("--program", metavar="FILE", help="the nordiq-watch to run (default: the one of this command)")
    parser.add_argument(
        "--data-dir",
        default=_DATA_DIR,
        metavar="DIR",
        help=f"place of config.yaml, models, state and logs (default: {_DATA_DIR})",
    )
    parser.add_argument("--gpu", action="store_true", help="also the drop-ins that let the services have NVIDIA GPUs")
    parser.add_argument("--force", action="store_true", help="replace files that differ; config.yaml stays")


def run(args: argparse.Namespace) -> int:
    """0 if all files are written, or shown. Raises ConfigError for an unusable path, or a file that differs and is
    kept.
    """
    from nordiq_watch.host.installation import below, compare, plan_units
    from nordiq_watch.host.shipped import read_default_config, read_unit_files

    program = args.program or own_program()
    files = plan_units(read_unit_files(), program=program, data_dir=args.data_dir, gpu=args.gpu)
    config = f"{args.data_dir.rstrip('/')}/config.yaml"
    prefix = args.prefix.absolute()
    if compare(below(prefix, config), "") == "new":
        files[config] = read_default_config()
    planned = {below(prefix, path): text for path, text in sorted(files.items())}
    _warn_of_homes(args, program)
    if args.dry_run:
        _show(planned)
    else:
        _write(planned, config=below(prefix, config), force=args.force)
    comment = "# " if args.dry_run else ""  # what a dry run prints are files
    print(f"\n{comment}next:")
    for command in _next_commands(prefix, program):
        print(f"{comment}  {command}")
    return 0


def own_program() -> str:
    """The command that this process runs, with its path."""
    beside = Path(sys.executable).with_name("nordiq-watch")
    return str(beside) if beside.is_file() else f"{sys.executable} -m nordiq_watch"


def _show(planned: dict[Path, str]) -> None:
    """Prints files in the format of `systemctl cat`."""
    from nordiq_watch.host.installation import compare

    for path, text in planned.items():
        print(f"# {path} ({compare(path, text)})\n{text}")


def _write(planned: dict[Path, str], *, config: Path, force: bool) -> None:
    from nordiq_watch.errors import ConfigError
    from nordiq_watch.host.installation import compare, write_whole

    states = {path: compare(path, text) for path, text in planned.items()}
    differing = [str(path) for path, state in states.items() if state == "differs"]
    if differing and not force:
        raise ConfigError(
            f"nothing was written, because these files are not as they would be: {', '.join(differing)}. "
            "--dry-run shows the new text, --force replaces them; changes of your own belong into `systemctl edit`."
        )
    for path, text in planned.items():
        if states[path] != "unchanged":
            write_whole(path, text, mode=_CONFIG_MODE if path == config else _UNIT_MODE)
        print("unchanged" if states[path] == "unchanged" else "written  ", path)
    if config not in planned:
        print(f"kept      {config}")


def _warn_of_homes(args: argparse.Namespace, program: str) -> None:
    from nordiq_watch.host.installation import out_of_sight

    own = () if args.program else (Path(sys.executable), Path(__file__).parent)
    for path in out_of_sight(Path(program.split(" ")[0]), *own, Path(args.data_dir)):
        print(
            f"warning: the services cannot see {path}: to them, home directories are empty. Install it elsewhere, "
            "/opt for example.",
            file=sys.stderr,
        )


def _next_commands(prefix: Path, program: str) -> Iterator[str]:
    from nordiq_watch.host.installation import KEYS, below

    here = prefix == Path("/")
    root = "" if here else f"--root={prefix} "
    yield f"systemd-sysusers {root}nordiq-watch.conf"
    yield f"systemd-tmpfiles {root}--create nordiq-watch.conf"
    if not below(prefix, KEYS).exists():
        yield f"{program} key add admin --role admin --key-file {below(prefix, KEYS)}"
    if here:
        yield "systemctl daemon-reload"
    yield f"systemctl {root}enable {'--now ' if here else ''}{_SERVICES}"
