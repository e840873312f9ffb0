from __future__ import annotations

from nordiq_watch.backoff import Backoff


def test_each_pause_is_twice_as_long_up_to_the_longest() -> None:
    backoff = Backoff(first_seconds=1.0, longest_seconds=10.0)
    assert backoff.pause_seconds == 0.0
    assert [backoff.fail() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert backoff.pause_seconds == 10.0


def test_a_success_begins_anew() -> None:
    backoff = Backoff(first_seconds=0.5, longest_seconds=5.0)
    backoff.fail()
    backoff.fail()
    backoff.reset()
    assert backoff.pause_seconds == 0.0
    assert backoff.fail() == 0.5
