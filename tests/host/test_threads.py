from __future__ import annotations

import os
import threading

from nordiq_watch.host.threads import lower_priority


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
