from __future__ import annotations

from nordiq_watch.log_throttle import LINES_PER_MINUTE, CountToTell, LogThrottle


def test_a_flood_leaves_room_in_the_log_and_is_counted() -> None:
    now = 0.0
    throttle = LogThrottle(clock=lambda: now)
    assert [throttle.count() for _ in range(1000)] == [""] * LINES_PER_MINUTE + [None] * (1000 - LINES_PER_MINUTE)
    now = 61.0
    assert throttle.count() == f" (and {1000 - LINES_PER_MINUTE} more before)"
    assert throttle.count() == ""
    now = 125.0
    assert throttle.count() == ""


def test_what_recurs_is_told_at_once_and_then_now_and_then_with_its_sum() -> None:
    now = 0.0
    count = CountToTell(600.0, clock=lambda: now)
    assert count.add(0) is None
    assert count.add(3) == 3
    assert [count.add(), count.add(4)] == [None, None]
    now = 600.0
    assert count.add(0) == 5
    assert count.add(0) is None
    now = 1200.0
    assert count.add(0) is None
