"""`nordiq-watch key add/list/revoke`: manages the keys in the daemon's key file."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command

_EXAMPLE = """\
examples:
  nordiq-watch key add grafana --role read      prints the key, once: it is written nowhere
  nordiq-watch key add agents-2026 --role feed
  nordiq-watch key list
  nordiq-watch key revoke agents-2025

read sees everything and changes nothing; feed sends data and sees nothing; admin may do everything.
A running daemon takes the change at SIGHUP. To replace a key: add the new one, SIGHUP, give it to the users of the old
one, revoke the old one, SIGHUP.
"""

ROLES = ("read", "feed", "admin")
_TOLD = "A running daemon takes this at SIGHUP."


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "key", "add, list and revoke API keys, each with a role", _EXAMPLE)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, summary in (
        ("add", "make a key and print it"),
        ("list", "show the keys, without telling them"),
        ("revoke", "take a key out of the key file"),
    ):
        sub = add_command(actions, action, summary, _EXAMPLE)
        if action != "list":
            sub.add_argument("id", metavar="ID", help="the key's name: letters, digits and _.-")
        if action == "add":
            sub.add_argument("--role", choices=ROLES, required=True, help="what the key allows")
        sub.add_argument("--key-file", type=Path, metavar="FILE", help="the key file; else auth.key_file of the config")
        sub.add_argument("--config", type=Path, metavar="FILE", help="config file; else ./config.yaml, if there is one")


def run(args: argparse.Namespace) -> int:
    """0 on success. Raises ConfigError for an unusable id or file."""
    import sys

    from nordiq_watch.config.load import find_settings
    from nordiq_watch.security.key_file import add_entry, revoke

    file = args.key_file or find_settings(args.config).key_file
    if args.action == "add":
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        print(add_entry(file, args.id, args.role, created=created))
        print(f"Keep it: {file} has only its hash. {_TOLD}", file=sys.stderr)
    elif args.action == "revoke":
        revoke(file, args.id)
        print(f"{args.id} is revoked. {_TOLD}")
    else:
        _list(file)
    return 0


def _list(file: Path) -> None:
    from nordiq_watch.cli.terminal import open_console, print_table
    from nordiq_watch.security.key_file import LOCAL_ID, KeyFile, read_key_file

    content = read_key_file(file) or KeyFile()
    rows = [(LOCAL_ID, "admin", "-", "itself, for the commands on this machine")] if content.plain else []
    rows += [(entry.id, entry.role, entry.created, f"sha256:{entry.sha256[:12]}…") for entry in content.entries]
    print_table(f"{len(rows)} keys in {file}", ("id", "role", "created", "in the file"), rows, console=open_console())
