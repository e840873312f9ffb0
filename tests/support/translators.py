"""Translators of series, and series of one server for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nordiq_watch.config.schema import DEFAULT_METRICS, SeriesRule
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.mappings import NODE_EXPORTER
from nordiq_watch.ingest.formats.readings import Reading
from nordiq_watch.ingest.formats.series import NAME, Series
from nordiq_watch.ingest.formats.series_rules import RuleTable
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.translator import Translator

AT = 300.0 * 5_000_000  # the begin of a slot
TRAFFIC = {"net_in_mb_s": SeriesRule(value="bytes_total", rate=True)}


class Clock:
    """Stands at the begin of the slot at AT until it is set."""

    now = AT

    def __call__(self) -> float:
        return self.now


def make_translator(
    mapping: RuleTable = NODE_EXPORTER,
    *,
    label: str = "instance",
    names: ServerNames | None = None,
    clock: Callable[[], float] = lambda: AT,
    budget: SeriesBudget | None = None,
    max_servers: int = 3,
    lateness_seconds: float = 900,
    **more: Any,
) -> Translator:
    return Translator(
        mapping,
        section="feeders.test",
        names=names or ServerNames(section="feeders.test", server_label=label),
        metrics=DEFAULT_METRICS,
        interval_seconds=300,
        lateness_seconds=lateness_seconds,
        max_servers=max_servers,
        forget_seconds=3600,
        budget=budget or SeriesBudget(10_000),
        clock=clock,
        **more,
    )


def series(name: str, *samples: tuple[float, float], instance: str = "web1:9100", **labels: str) -> Series:
    return Series({NAME: name, "instance": instance, **labels}, [(AT + at, value) for at, value in samples])


def shown(readings: list[Reading]) -> list[tuple[str, float, dict[str, float]]]:
    return [
        (reading.server, reading.timestamp - AT, {name: round(value, 6) for name, value in reading.values.items()})
        for reading in readings
    ]


def cpu(at: float, **seconds: float) -> list[Series]:
    return [
        series("node_cpu_seconds_total", (at, value), cpu=number, mode=mode)
        for number in "01"
        for mode, value in seconds.items()
    ]
