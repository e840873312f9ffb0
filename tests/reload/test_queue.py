from __future__ import annotations

import threading

from support.optional import not_none

from nordiq_watch.api.enums import ReloadTrigger
from nordiq_watch.reload.jobs import Job, LoadLatest, LoadVersion, LookAgain, RollBack
from nordiq_watch.reload.queue import ReloadQueue


def new_queue() -> ReloadQueue:
    return ReloadQueue(wall_clock=lambda: 5.0)


def test_equal_waiting_jobs_are_one() -> None:
    queue = new_queue()
    tickets = {queue.submit(LoadLatest()).id for _ in range(50)}
    assert len(tickets) == len(queue) == 1
    assert queue.submit(LoadVersion("a")).id != queue.submit(LoadVersion("b")).id


def test_a_job_that_was_taken_is_not_waiting_any_more() -> None:
    queue = new_queue()
    first = queue.submit(LoadLatest())
    queue.take(0)
    assert queue.submit(LoadLatest()) is not first


def test_people_go_before_the_watcher() -> None:
    queue = new_queue()
    jobs: list[Job] = [LookAgain(), LoadLatest(), LookAgain(ReloadTrigger.SIGNAL), RollBack()]
    for job in jobs:
        queue.submit(job)
    taken = [not_none(queue.take(0))[0] for _ in jobs]
    assert taken == [LoadLatest(), RollBack(), LookAgain(), LookAgain(ReloadTrigger.SIGNAL)]


def test_an_empty_queue_gives_nothing() -> None:
    assert new_queue().take(0) is None


def test_closing_wakes_the_worker_and_all_who_wait() -> None:
    queue = new_queue()
    ticket = queue.submit(LoadLatest())
    answers: list[object] = []
    waiter = threading.Thread(target=lambda: answers.append(ticket.wait(30).reason))
    waiter.start()
    queue.close()
    waiter.join(30)
    assert answers == ["the daemon is stopping"]
    assert queue.take(None) is None
    assert queue.submit(LoadLatest()).wait(0).state == "finished"


def test_only_requests_are_listed_as_waiting() -> None:
    queue = new_queue()
    queue.submit(LookAgain())
    queue.submit(LoadVersion("tft_model_x"))
    (record,) = queue.waiting()
    assert (record.requested, record.state, record.trigger, record.created_at) == ("tft_model_x", "waiting", "api", 5.0)
