"""`nordiq-watch sign`: signs a model directory, so that a daemon with `models.trusted_keys` loads it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nordiq_watch.cli.parsers import Subparsers, add_command

_EXAMPLE = """\
examples:
  nordiq-watch sign --new-key signing.pem                   makes a key; put the line it prints into models.trusted_keys
  nordiq-watch sign models/tft_model_20250130_143000 --key signing.pem

The private key belongs where models are trained, never on the daemon's host.
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "sign", "sign a model directory, or make a key to sign with", _EXAMPLE)
    parser.add_argument("model_dir", type=Path, nargs="?", metavar="MODEL_DIR")
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument("--key", type=Path, metavar="FILE", help="private key to sign with (ed25519, PEM)")
    keys.add_argument("--new-key", type=Path, metavar="FILE", help="make a private key there and print the public one")


def run(args: argparse.Namespace) -> int:
    """0 if the directory was signed, or the key made. Raises ConfigError, ModelRejected, OSError."""
    from nordiq_watch.artifact.completeness import judge
    from nordiq_watch.artifact.manifest import UnknownFormat
    from nordiq_watch.artifact.signature import make_private_key, read_private_key, show_public, sign_model
    from nordiq_watch.errors import ConfigError

    if args.new_key is not None:
        print(show_public(make_private_key(args.new_key)))
        return 0
    if args.model_dir is None or not args.model_dir.is_dir():
        raise ConfigError("name the model directory to sign, such as models/tft_model_…")
    directory = args.model_dir.resolve()
    verdict = judge(directory)
    if not verdict.complete:
        raise ConfigError(f"{args.model_dir} is not complete and was not signed: {verdict.reason}")
    key = read_private_key(args.key)
    try:
        sign_model(directory, key)
    except UnknownFormat as error:
        raise ConfigError(f"{args.model_dir} was not signed: {error}") from None
    print(f"{args.model_dir} is signed by {show_public(key)}")
    return 0
