"""What `init` is to do, from its options or from answers at a terminal."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nordiq_watch.errors import ConfigError
from nordiq_watch.zones import UnknownZone, find_zone

_LOCALTIME = Path("/etc/localtime")
_ZONES = "/zoneinfo/"


class Source(StrEnum):
    """Where the servers' history is."""

    PROMETHEUS = "prometheus"
    DATASET = "dataset"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Order:
    """place: the URL or the directory of the source. interval_seconds and zone: None where none was named."""

    source: Source
    place: str
    interval_seconds: int | None
    zone: str | None
    port: int | None
    max_minutes: float
    force: bool


def order_of(args: argparse.Namespace, *, ask: Callable[[str], str] | None, configured: bool = False) -> Order:
    """ask: puts a question to a person and returns the answer; None where there is no person to ask, or --yes.
    configured: whether a config.yaml is there, which stays and says the zone.

    Raises ConfigError if the source is not named and cannot be asked for, or an answer is not usable.
    """
    source, place = _named_source(args)
    if source is None:
        if ask is None:
            raise ConfigError(
                "where the metrics are is not said, and there is no terminal to ask at (or --yes): give --prometheus "
                "URL, --dataset DIR or --agent"
            )
        source, place = _ask_for_source(ask)
    elif ask is None and not args.yes:
        raise ConfigError("init asks before it writes, and there is no terminal to ask at: give --yes")
    zone = None if args.timezone is None else str(args.timezone)
    if zone is None and ask is not None and not configured:
        zone = _ask_for_zone(ask)
    return Order(
        source=source,
        place=place,
        interval_seconds=args.interval,
        zone=zone,
        port=args.port,
        max_minutes=args.max_minutes,
        force=args.force,
    )


def _named_source(args: argparse.Namespace) -> tuple[Source | None, str]:
    if args.prometheus is not None:
        return Source.PROMETHEUS, args.prometheus
    if args.dataset is not None:
        return Source.DATASET, str(args.dataset)
    return (Source.AGENT, "") if args.agent else (None, "")


def _ask_for_source(ask: Callable[[str], str]) -> tuple[Source, str]:
    answer = ask(
        "Where are the metrics of your servers?\n"
        "  1  in Prometheus, VictoriaMetrics or Thanos\n"
        "  2  in files: CSV or Parquet\n"
        "  3  nowhere yet: this machine shall be measured\n"
        "1, 2 or 3 [1]: "
    )
    if answer in ("", "1"):
        return Source.PROMETHEUS, ask("Its address [http://localhost:9090]: ") or "http://localhost:9090"
    if answer == "2":
        return Source.DATASET, ask("Their directory: ")
    if answer == "3":
        return Source.AGENT, ""
    raise ConfigError(f"{answer!r:.40} is not 1, 2 or 3")


def _ask_for_zone(ask: Callable[[str], str]) -> str:
    here = _zone_of_this_machine()
    name = ask(f"Whose clocks does the load follow? A time zone [{here}]: ") or here
    try:
        return str(find_zone(name))
    except UnknownZone as error:
        raise ConfigError(f"the time zone is {error}") from None


def _zone_of_this_machine() -> str:
    _, found, name = str(_LOCALTIME.resolve()).partition(_ZONES)
    try:
        return str(find_zone(name)) if found else "UTC"
    except UnknownZone:
        return "UTC"
