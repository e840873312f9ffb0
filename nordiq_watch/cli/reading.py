"""The options that say how files are to be read: of `import`, `train`, `evaluate` and `compare`."""

from __future__ import annotations

import argparse
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING

from nordiq_watch.labels import find_fault
from nordiq_watch.zones import UnknownZone, find_zone

if TYPE_CHECKING:
    from nordiq_watch.tables.forms import Forms


def add_reading(parser: argparse.ArgumentParser, *, labels: bool = False) -> None:
    """`--column`, `--wide` and `--timezone`; `--label` where labels go anywhere."""
    group = parser.add_argument_group("how files are read, where it does not follow from them")
    group.add_argument(
        "--column",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=THEIRS",
        help="the column, or the key, that is timestamp, server_name, status, profile, labels, key, value or a metric; "
        "METRIC=THEIRS*FACTOR multiplies; may be repeated",
    )
    if labels:
        group.add_argument(
            "--label",
            type=_label,
            action="append",
            metavar="NAME[=COLUMN]",
            help="a label of servers, from the column of this name or COLUMN; may be repeated",
        )
    parser.set_defaults(label=[])
    group.add_argument("--wide", metavar="METRIC", help="each column but the time is a server's METRIC")
    group.add_argument(
        "--timezone", type=_zone, default=UTC, metavar="ZONE", help="of times without one (default: UTC)"
    )


def forms_of(args: argparse.Namespace) -> Forms:
    from nordiq_watch.tables.forms import Forms

    return Forms(dict(args.column), args.wide, args.timezone, dict(args.label))


def _pair(text: str) -> tuple[str, str]:
    name, _, theirs = text.partition("=")
    if not name.strip() or not theirs.strip():
        raise argparse.ArgumentTypeError(f"{text} is not NAME=COLUMN, such as cpu_user_pct=load")
    return name.strip(), theirs.strip()


def _label(text: str) -> tuple[str, str]:
    name, equals, theirs = text.partition("=")
    name, theirs = name.strip(), theirs.strip()
    if (fault := find_fault(name, "")) is not None or bool(equals) != bool(theirs):
        raise argparse.ArgumentTypeError(f"{text!r:.60} {fault or 'is not NAME=COLUMN'}, such as team=department")
    return name, theirs or name


def _zone(text: str) -> tzinfo:
    try:
        return find_zone(text)
    except UnknownZone as error:
        raise argparse.ArgumentTypeError(str(error)) from None
