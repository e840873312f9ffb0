from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from nordiq_watch.training.interruption import Interrupted, StopRequest


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """A test run in the background begins with SIGINT ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_raised_at_once(number: signal.Signals, code: int) -> None:
    stop = StopRequest()
    with pytest.raises(Interrupted) as caught, stop.listening():
        send(number)
    assert caught.value.exit_code == code
    assert isinstance(caught.value, KeyboardInterrupt)


def test_a_deferred_signal_waits_until_it_is_asked_for() -> None:
    stop = StopRequest()
    with stop.listening():
        with stop.deferred():
            send(signal.SIGTERM)
            assert stop.is_pending
        with pytest.raises(Interrupted, match="SIGTERM"):
            stop.raise_pending()
        stop.raise_pending()  # once


def test_a_second_signal_does_not_wait() -> None:
    stop = StopRequest()
    with stop.listening(), stop.deferred():
        send(signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGTERM"):
            send(signal.SIGTERM)


def test_the_handlers_before_are_back_afterwards() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with StopRequest().listening():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stop = StopRequest()
    with stop.listening():
        stop.take_over()
        send(signal.SIGINT)
        assert not stop.is_pending


def test_handlers_that_a_library_put_there_can_be_replaced() -> None:
    stop = StopRequest()
    with stop.listening():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.take_over()
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)


def test_without_listening_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest()
    stop.take_over()
    with stop.deferred():
        assert signal.getsignal(signal.SIGTERM) is before
    stop.raise_pending()
