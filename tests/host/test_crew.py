from __future__ import annotations

import threading

from support.daemon import wait_until

from nordiq_watch.host.crew import Crew
from nordiq_watch.parts import PartState
from nordiq_watch.worker import Worker


class Hanging(Worker):
    """Its first round lasts until it is let go."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def round(self) -> None:
        self.begun.set()
        assert self.let_go.wait(20)


def test_only_a_stuck_one_that_is_required_is_a_fault_and_every_stuck_one_is_told() -> None:
    crew = Crew(stuck_seconds=-1)
    optional, required = Hanging("history-writer"), Hanging("ingest")
    crew.start(optional)
    assert optional.begun.wait(20)
    assert crew.find_fault() is None
    assert optional.part.status.state is PartState.STUCK
    crew.start(required, required=True)
    assert required.begun.wait(20)
    assert crew.find_fault() == "the thread ingest has been busy for 0 s"
    for worker in (optional, required):
        worker.stop()
        worker.let_go.set()
    assert crew.join(20) == []


def test_those_that_do_not_end_in_time_are_named() -> None:
    crew = Crew(stuck_seconds=60)
    worker = Hanging("webhook")
    crew.start(worker)
    worker.stop()
    assert worker.begun.wait(20)
    assert crew.join(0.01) == ["webhook"]
    worker.let_go.set()
    wait_until(lambda: crew.join(0.01) == [], what="the thread to end")
