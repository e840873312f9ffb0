from __future__ import annotations

from nordiq_watch.log_throttle import LINES_PER_MINUTE, LogThrottle


def test_a_flood_leaves_room_in_the_log_and_is_counted() -> None:
    now = 0.0
    throttle = LogThrottle(clock=lambda: now)
    assert [throttle.count() for _ in range(1000)] == [""] * LINES_PER_MINUTE + [None] * (1000 - LINES_PER_MINUTE)
    now = 61.0
    assert throttle.count() == f" (and {1000 - LINES_PER_MINUTE} more before)"
    assert throttle.count() == ""
    now = 125.0
    assert throttle.count() == ""
