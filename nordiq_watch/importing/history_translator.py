"""The translator of a collector's format, for a history instead of a feed."""

from __future__ import annotations

from collections.abc import Callable

from nordiq_watch.config.schema import Config
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.build import Feeder, build_translator
from nordiq_watch.ingest.formats.series_rules import RuleTable
from nordiq_watch.ingest.formats.translator import Translator

ALL_SERVERS = 1 << 20
"""A history has no window that they must fit into."""

Slots = dict[tuple[str, int], dict[str, float]]
"""Server and slot → metric → value."""


def build_history_translator(
    config: Config,
    section: str,
    feeder: Feeder,
    mapping: RuleTable,
    *,
    clusters: Clusters,
    clock: Callable[[], float],
) -> Translator:
    """section: of `feeders`. clock: Unix time. ConfigError for a rule that cannot be read."""
    return build_translator(
        config,
        section,
        feeder,
        mapping,
        budget=SeriesBudget(config.feeders.max_series),
        clusters=clusters,
        max_servers=ALL_SERVERS,
        clock=clock,
    )
