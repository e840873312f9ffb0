"""The options that say how files are to be read: of `import`, `train`, `evaluate` and `compare`."""

from __future__ import annotations

import argparse
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from nordiq_watch.zones import UnknownZone, find_zone

if TYPE_CHECKING:
    from nordiq_watch.tables.forms import Forms


def add_reading(parser: argparse.ArgumentParser) -> None:
    """`--column`, `--wide` and `--timezone`."""
    group = parser.add_argument_group("how files are read, where it does not follow from them")
    group.add_argument(
        "--column",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=THEIRS",
        help="the column, or the key, that is timestamp, server_name, status, profile, key, value or a metric; "
        "METRIC=THEIRS*FACTOR multiplies; may be repeated",
    )
    group.add_argument("--wide", metavar="METRIC", help="each column but the time is a server's METRIC")
    group.add_argument(
        "--timezone", type=_zone, default=UTC, metavar="ZONE", help="of times without one (default: UTC)"
    )


def forms_of(args: argparse.Namespace) -> Forms:
    from nordiq_watch.tables.forms import Forms

    return Forms(dict(args.column), args.wide, args.timezone)


def _pair(text: str) -> tuple[str, str]:
    name, _, theirs = text.partition("=")
    if not name.strip() or not theirs.strip():
        raise argparse.ArgumentTypeError(f"{text} is not NAME=COLUMN, such as cpu_user_pct=load")
    return name.strip(), theirs.strip()


def _zone(text: str) -> tzinfo:
    try:
        return find_zone(text)
    except UnknownZone as error:
        raise argparse.ArgumentTypeError(str(error)) from None
