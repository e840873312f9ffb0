"""The daemon's own tables as the console's scripts need them; static/tables.js offers them to the others."""

from __future__ import annotations

from typing import Any

from nordiq_watch.config import Config
from nordiq_watch.forecast.risk import PROBABILITY_HORIZONS
from nordiq_watch.forecast.thresholds import LEVELS
from nordiq_watch.metrics import describe
from nordiq_watch.reload.attempt import STAGES, STAGES_OF_A_DROP
from nordiq_watch.web.console.fleet import FULL, NOT_KNOWN
from nordiq_watch.web.reload_answers import is_success, known_outcomes


def describe_tables(config: Config) -> dict[str, Any]:
    """Small and the same for as long as the daemon runs, so that every page can carry it.

    levels: the calmest first. stages: of a reload, in their order. outcomes: of a reload, to whether all is well after
    it. chances: the chances of an incident, and how many seconds each looks ahead. horizons: in seconds.
    """
    return {
        "levels": LEVELS,
        "stages": STAGES,
        "stages_of_a_drop": STAGES_OF_A_DROP,
        "outcomes": {outcome: is_success(outcome) for outcome in known_outcomes()},
        "units": {metric: describe(metric).unit for metric in config.metrics},
        "chances": {f"prob_{name}": seconds for name, seconds in PROBABILITY_HORIZONS.items()},
        "horizons": config.quality.horizons_seconds,
        "bytes": {"full": FULL, "not_known": NOT_KNOWN},
    }
