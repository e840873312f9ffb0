"""The daemon's tables for the console's scripts; static/tables.js provides them to the others."""

from __future__ import annotations

from nordiq_watch.alerting.active_alerts import FLEET
from nordiq_watch.alerting.risk import PROBABILITY_HORIZONS
from nordiq_watch.api.console import ByteScale, Tables
from nordiq_watch.api.enums import Level, ReloadOutcome, ReloadTrigger, ServerState
from nordiq_watch.config.schema import Config
from nordiq_watch.metrics import describe
from nordiq_watch.quality.accuracy import EXPECTED_COVERAGE
from nordiq_watch.quality.drift import limits_by_figure
from nordiq_watch.reload.run import STAGES, stages_ahead
from nordiq_watch.web.console.fleet import FULL, NOT_KNOWN


def describe_tables(config: Config) -> Tables:
    """Small and constant while the daemon runs, so that every page can carry it."""
    return Tables(
        levels=tuple(Level),
        stages=STAGES,
        stages_ahead={trigger: stages_ahead(trigger) for trigger in ReloadTrigger},
        outcomes={outcome: outcome.is_success for outcome in ReloadOutcome},
        units={metric: describe(metric).unit for metric in config.metrics},
        chances={f"prob_{name}": seconds for name, seconds in PROBABILITY_HORIZONS.items()},
        horizons=config.quality.horizons_seconds,
        bytes=ByteScale(full=FULL, not_known=NOT_KNOWN),
        drift_limits=limits_by_figure(config.quality.drift),
        fleet=FLEET,
        expected_coverage=round(EXPECTED_COVERAGE, 2),
        states=tuple(ServerState),
    )
