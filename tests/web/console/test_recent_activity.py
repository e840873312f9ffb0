"""Records a minute and the time of forecasts, minute by minute."""

from __future__ import annotations

import pytest

from nordiq_watch.events import BatchAccepted, ForecastPublished
from nordiq_watch.web.console.recent_activity import KEPT_FORECASTS, MINUTES, RecentActivity


class Clock:
    now = 60.0 * 1_000_000

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_batches_of_a_minute_add_up_and_old_minutes_fall_out(clock: Clock) -> None:
    pulse = RecentActivity(clock)
    pulse.note_batch(BatchAccepted(records=10, rejected=1, clipped=0))
    pulse.note_batch(BatchAccepted(records=5, rejected=0, clipped=0))
    clock.now += 120
    pulse.note_batch(BatchAccepted(records=7, rejected=2, clipped=0))
    taken, rejected = pulse.minutes()
    assert (len(taken), len(rejected)) == (MINUTES, MINUTES)
    assert (taken[-3:], rejected[-3:]) == ([15, 0, 7], [1, 0, 2])
    clock.now += 60 * (MINUTES - 3)
    assert sum(pulse.minutes()[0]) == 22
    clock.now += 60
    assert sum(pulse.minutes()[0]) == 7
    clock.now += 3600
    assert sum(pulse.minutes()[0]) == 0


def test_the_newest_forecasts_are_kept(clock: Clock) -> None:
    pulse = RecentActivity(clock)
    for number in range(KEPT_FORECASTS + 5):
        clock.now += 1
        pulse.note_forecast(ForecastPublished(version="v", generation=1, servers=3, seconds=float(number)))
    forecasts = pulse.forecasts()
    assert len(forecasts) == KEPT_FORECASTS
    assert forecasts[-1] == (clock.now, KEPT_FORECASTS + 4)
