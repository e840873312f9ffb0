from __future__ import annotations

import os
import sys
import threading

import pytest

from nordiq_watch.host.threads import lower_priority, take_turns_sooner


def test_only_the_calling_thread_and_its_children_give_way() -> None:
    seen: list[int] = []

    def note() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    def background() -> None:
        lower_priority(10)
        note()
        child = threading.Thread(target=note)
        child.start()
        child.join()

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    thread = threading.Thread(target=background)
    thread.start()
    thread.join()
    assert seen == [10, 10]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_one_that_gives_way_more_already_stays_so() -> None:
    seen: list[int] = []

    def background() -> None:
        lower_priority(15)
        lower_priority(5)
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=background)
    thread.start()
    thread.join()
    assert seen == [15]


def test_threads_take_turns_sooner_but_never_later() -> None:
    before = sys.getswitchinterval()
    try:
        for interval, expected in ((0.005, 0.001), (0.0005, 0.0005)):
            sys.setswitchinterval(interval)
            take_turns_sooner()
            assert sys.getswitchinterval() == pytest.approx(expected)
    finally:
        sys.setswitchinterval(before)
