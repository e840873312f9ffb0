"""The registry of what can fail by itself: states, reasons without directories, one line in the log for each change."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nordiq_watch.api.enums import PartState
from nordiq_watch.parts import EFFECTS, PartKind, Parts


@dataclass
class World:
    now: float = 1000.0
    parts: Parts = field(init=False)

    def __post_init__(self) -> None:
        self.parts = Parts(hidden=(Path("/srv/nw/state"), Path("/srv/nw")), clock=self.time, timer=self.time)

    def time(self) -> float:
        return self.now


@pytest.fixture
def world() -> World:
    return World()


def test_a_part_works_from_the_moment_it_is_registered(world: World) -> None:
    (status,) = [world.parts.of("history").status]
    assert (status.name, status.state, status.reason, status.since) == ("history", PartState.OK, None, 1000.0)
    assert status.kind is PartKind.STORE
    assert world.parts.of("history") is world.parts.of("history")
    assert world.parts.report() == (status,)


def test_an_unknown_part_cannot_be_registered(world: World) -> None:
    with pytest.raises(StopIteration):
        world.parts.of("cellar")


def test_a_failure_and_its_end_are_one_line_each(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nordiq_watch.parts")
    history = world.parts.of("history")
    world.now += 5
    for _ in range(3):
        history.fail("/srv/nw/state/history.sqlite3: disk I/O error")
    world.now += 30
    for _ in range(3):
        history.recover()
    effect = EFFECTS[PartKind.STORE]["history"]
    assert caplog.messages == [
        f"the history does not work: /srv/nw/state/history.sqlite3: disk I/O error ({effect})",
        "the history works again, after 30 s",
    ]
    assert history.status.since == 1035.0


def test_the_status_shows_no_directories(world: World) -> None:
    world.parts.of("history").fail("/srv/nw/state/history.sqlite3: no. Look into /srv/nw/state or /srv/nw/logs/x")
    assert world.parts.of("history").status.reason == "history.sqlite3: no. Look into state or logs/x"


def test_another_reason_is_said_too_but_not_time_and_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    journal = world.parts.of("journal")
    for second in range(121):
        journal.fail(f"reason {second % 2}")
        world.now += 1
    assert [message.split(": ")[1].split(" (")[0] for message in caplog.messages] == [
        "reason 0",
        "reason 1",
        "reason 1",
    ]
    assert journal.status.since == 1000.0, "it has been failing since then, whatever the reason is now"


def test_a_worker_that_fails_and_then_is_stuck_is_in_another_state_since_then(world: World) -> None:
    part = world.parts.of("quality")
    part.fail("internal: KeyError, the log has the rest")
    world.now += 10
    part.fail("its loop has not come round for 10 s", state=PartState.STUCK)
    assert (part.status.state, part.status.since) == (PartState.STUCK, 1010.0)
    world.now += 10
    part.recover()
    assert (part.status.state, part.status.reason) == (PartState.OK, None)


def test_only_those_of_a_kind_that_do_not_work(world: World) -> None:
    for name in ("webhook", "journal", "archive"):
        world.parts.of(name)
    world.parts.of("webhook").fail("x")
    world.parts.of("archive").fail("y")
    assert [status.name for status in world.parts.failing(PartKind.STORE)] == ["archive"]
    assert [status.name for status in world.parts.failing(PartKind.WORKER)] == ["webhook"]
    assert [status.name for status in world.parts.report()] == ["journal", "archive", "webhook"]


def test_no_name_is_used_twice() -> None:
    names = [name for effects in EFFECTS.values() for name in effects]
    assert len(names) == len(set(names))


def test_many_threads_that_report_at_once_leave_one_line_for_each_change(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    part = world.parts.of("journal")
    barrier = threading.Barrier(8)

    def report() -> None:
        for _ in range(50):
            barrier.wait()
            part.fail("the disk is full")
            barrier.wait()
            part.recover()

    caplog.set_level(logging.INFO, "nordiq_watch.parts")
    threads = [threading.Thread(target=report) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kinds = [message.split(" ")[2] for message in caplog.messages]
    assert (kinds.count("does"), kinds.count("works"), part.works) == (50, 50, True)


def test_operations_md_has_every_part_with_its_effect() -> None:
    page = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()
    rows = [
        f"| `{name}` | {kind} | {effect} |" for kind, effects in EFFECTS.items() for name, effect in effects.items()
    ]
    assert [row for row in rows if row not in page] == []
    assert page.count(" | store | ") + page.count(" | worker | ") == len(rows)
