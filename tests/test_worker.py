"""One loop for every thread: rounds, rests, failures, and what is seen from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from support.daemon import wait_until
from support.trouble import Clock

from nordiq_watch.api.enums import PartState
from nordiq_watch.backoff import Backoff
from nordiq_watch.worker import Worker


class Scripted(Worker):
    """Its rounds are a script; the last one is repeated."""

    def __init__(self, *rounds: Callable[[], float | None], pulse: Callable[[], float] | None = None) -> None:
        super().__init__("quality", longest_pause_seconds=0.02, **({"pulse": pulse} if pulse else {}))
        self.rounds = list(rounds)
        self.count = 0
        self.finished = 0

    def round(self) -> float | None:
        self.count += 1
        return (self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0])()

    def finish(self) -> None:
        self.finished += 1


def nothing() -> None:
    return None


def broken() -> None:
    raise KeyError("nobody foresaw this")


@contextmanager
def running(worker: Worker) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield thread
    worker.stop()
    thread.join(20)
    assert not thread.is_alive()


def test_a_round_follows_when_it_is_woken_or_its_rest_is_over() -> None:
    worker = Scripted(nothing)
    with running(worker):
        wait_until(lambda: worker.count == 1, what="the first round")
        worker.wake()
        wait_until(lambda: worker.count == 2, what="the second round")
        worker.rounds = [lambda: 0.001]
        worker.wake()
        wait_until(lambda: worker.count > 5, what="rounds without being woken")
    assert worker.finished == 1


def test_a_failed_round_is_told_once_and_the_next_good_one_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    worker = Scripted(broken, broken, broken, nothing)
    with running(worker):
        wait_until(lambda: worker.part.status.state is PartState.FAILING, what="the part to fail")
        assert worker.part.status.reason == "internal: KeyError, the log has the rest"
        wait_until(lambda: worker.part.works, what="the part to work again")
    assert worker.count == 4
    assert caplog.text.count("the worker quality failed; it goes on") == 1
    assert caplog.text.count("Traceback") == 1
    assert "nobody foresaw this" in caplog.text
    assert caplog.text.count("the quality does not work: internal: KeyError") == 1


def test_it_stops_at_once_while_it_pauses_after_a_failure() -> None:
    worker = Scripted(broken)
    worker._failures = Backoff(first_seconds=3600, longest_seconds=3600)
    with running(worker):
        wait_until(lambda: worker.count == 1, what="the first round")
    assert worker.finished == 1


def test_a_stop_between_the_look_at_it_and_the_round_is_not_lost() -> None:
    """The loop reads the time just after it saw that it may go on: here it is stopped at that very moment."""

    def stop_and_read_clock() -> float:
        worker.stop()
        return 1.0

    worker = Scripted(nothing, pulse=stop_and_read_clock)
    with running(worker):
        pass
    assert (worker.count, worker.finished) == (1, 1)


def test_what_is_left_at_the_end_may_fail_without_ending_the_thread_wildly(caplog: pytest.LogCaptureFixture) -> None:
    worker = Scripted(nothing)
    worker.finish = broken  # type: ignore[method-assign]
    with running(worker):
        pass
    assert "the worker quality failed" in caplog.text


def test_one_that_is_busy_for_too_long_is_stuck_until_it_comes_round() -> None:
    clock = Clock()
    busy, inside = threading.Event(), threading.Event()

    def hang() -> None:
        inside.set()
        busy.wait(20)

    worker = Scripted(hang, nothing, pulse=clock)
    with running(worker):
        assert inside.wait(20)
        clock.now += 59
        assert worker.look(60) is None
        clock.now += 2
        assert worker.look(60) == "the thread quality has been busy for 61 s"
        assert worker.part.status.state is PartState.STUCK
        busy.set()
        wait_until(lambda: worker.count == 1, what="the round to end")
        worker.wake()
        wait_until(lambda: worker.part.works, what="the part to work again")
        assert worker.look(60) is None


def test_a_thread_that_is_over_although_nothing_stopped_it_has_ended() -> None:
    worker = Scripted(nothing)
    assert worker.look(60) is None, "it has not begun"
    assert worker.look(60, alive=False) == "the thread quality ended"
    assert worker.part.status.state is PartState.ENDED
    worker.stop()
    assert worker.look(60, alive=False) is None
