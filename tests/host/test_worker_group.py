from __future__ import annotations

import threading

from support.daemon import wait_until

from nordiq_watch.api.enums import PartState
from nordiq_watch.host.worker_group import WorkerGroup
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
    workers = WorkerGroup(stuck_seconds=-1)
    optional, required = Hanging("history-writer"), Hanging("ingest")
    workers.start(optional)
    assert optional.begun.wait(20)
    assert workers.find_fault() is None
    assert optional.part.status.state is PartState.STUCK
    workers.start(required, required=True)
    assert required.begun.wait(20)
    assert workers.find_fault() == "the thread ingest has been busy for 0 s"
    for worker in (optional, required):
        worker.stop()
        worker.let_go.set()
    assert workers.join(20) == []


def test_those_that_do_not_end_in_time_are_named() -> None:
    workers = WorkerGroup(stuck_seconds=60)
    worker = Hanging("webhook")
    workers.start(worker)
    worker.stop()
    assert worker.begun.wait(20)
    assert workers.join(0.01) == ["webhook"]
    worker.let_go.set()
    wait_until(lambda: workers.join(0.01) == [], what="the thread to end")
