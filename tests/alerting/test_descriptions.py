"""What alerts say of a risk, and durations for people."""

from __future__ import annotations

from typing import Any

import pytest
from support.fleets import NAN, made_of

from nordiq_watch.alerting.descriptions import describe_risk, describe_seconds
from nordiq_watch.alerting.risk import assess_fleet
from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.config.schema import RiskSettings
from nordiq_watch.records.forecasts import Forecasting


def described(made: Forecasting) -> dict[str, Any]:
    table = ThresholdTable(RiskSettings(), made.snapshot.metrics)
    return describe_risk(assess_fleet(made, table, current_weight=0.7, silent_seconds=3600), 0)


STEADY = [[[88 + k, 90 + k, 92 + k] for k in range(6)]]


@pytest.mark.parametrize(
    ("made", "seconds", "basis", "message"),
    [
        (
            made_of([[90]], [STEADY]),
            1800,
            "p50",
            "mem_used_pct is 90.0 % and is expected to reach 95 % in 30 min (p50)",
        ),
        (
            made_of([[90]], [[[[88, 90, 93], [88, 91, 95]]]]),
            600,
            "p90",
            "mem_used_pct is 90.0 % and may reach 95 % in 10 min (p90)",
        ),
        (made_of([[97]], [[[97]]]), 0, "now", "mem_used_pct is 97.0 %, critical is 95 %"),
        (made_of([[91]], [[[91]]]), None, None, "mem_used_pct is 91.0 %; critical is 95 %, not in sight"),
        (
            made_of([[92]], [[[20]]], targets=("cpu_user_pct",)),
            None,
            None,
            "mem_used_pct is 92.0 %; critical is 95 %, not forecast",
        ),
        (
            made_of([[92]], [[[NAN]]]),
            None,
            None,
            "mem_used_pct is 92.0 %; critical is 95 %, not forecast for this server",
        ),
    ],
)
def test_the_time_to_the_threshold_and_what_says_so(
    made: Forecasting, seconds: float | None, basis: str | None, message: str
) -> None:
    found = described(made)
    assert (found["time_to_issue"], found["time_to_issue_basis"], found["message"]) == (seconds, basis, message)


@pytest.mark.parametrize(
    ("seconds", "said"), [(20, "1 min"), (2700, "45 min"), (3600, "1 h"), (5100, "1 h 25 min"), (86400, "24 h")]
)
def test_durations_for_people(seconds: float, said: str) -> None:
    assert describe_seconds(seconds) == said
