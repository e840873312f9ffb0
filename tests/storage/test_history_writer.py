from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.alerts import LIFE
from support.fleet_state import ENVIRONMENT, SUMMARY
from support.trouble import Clock, blocked

from nordiq_watch.errors import StorageError
from nordiq_watch.events import AlertsChanged, FleetJudged
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.history_writer import HistoryWriter
from nordiq_watch.storage.store import RETRY_SECONDS

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    opened = HistoryStore(tmp_path / "history.sqlite3", slot_seconds=300)
    yield opened
    opened.close()


def judged(at: float) -> FleetJudged:
    return FleetJudged(at, ("a",), np.array([12.0]), ENVIRONMENT, SUMMARY)


def test_events_are_written_in_order(store: HistoryStore) -> None:
    history_writer = HistoryWriter(store, keep_days=31)
    for change in LIFE:
        history_writer.note(AlertsChanged((change,)))
    history_writer.note(judged(1500))
    assert store.newest() is None
    history_writer.step()
    assert [change.change for change in store.alerts(0)[0].changes] == ["raised", "escalated", "resolved"]
    assert store.risks("a", 0) == ((1500, 12.0),)
    (moment,) = store.moments(0)
    assert moment.environment == msgspec.to_builtins(ENVIRONMENT)
    assert set(moment.summary) == {name for name in SUMMARY.__struct_fields__ if not name.startswith("top_")}


def test_what_is_older_than_the_retention_goes(store: HistoryStore) -> None:
    history_writer = HistoryWriter(store, keep_days=1)
    for at in (0.0, DAY / 2, DAY + 100, DAY + 3700):
        history_writer.note(judged(at))
        history_writer.step()
    assert [moment.at for moment in store.moments(0)] == [DAY / 2, DAY + 100, DAY + 3700]


SLOTS = 41
AHEAD_SECONDS = 365 * DAY


def write_ahead(store: HistoryStore, *, restarts: bool, moments: int) -> None:
    """41 slots, then some from ahead of the real time, by the sender's clock and the daemon's, as on one host, then 41
    more. restarts: the daemon starts while it is ahead, as at the boot of a machine whose clock is wrong.
    """
    clock = Clock(0.0)
    history_writer = HistoryWriter(store, keep_days=31, clock=clock)
    times = [slot * 300.0 for slot in range(2 * SLOTS + moments)]
    for slot, at in enumerate(times):
        is_ahead = SLOTS <= slot < SLOTS + moments
        if restarts and slot == SLOTS:
            history_writer = HistoryWriter(store, keep_days=31, clock=clock)
        clock.now = at + AHEAD_SECONDS * is_ahead
        history_writer.note(judged(clock.now))
        history_writer.step()


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("moments", [1, 2, 11])
def test_a_clock_that_was_ahead_for_less_than_an_hour_costs_no_past(
    store: HistoryStore, restarts: bool, moments: int
) -> None:
    write_ahead(store, restarts=restarts, moments=moments)
    assert len(store.moments(0)) == 2 * SLOTS + moments
    assert store.newest(until=AHEAD_SECONDS) == (2 * SLOTS + moments - 1) * 300.0


@pytest.mark.parametrize("restarts", [False, True])
def test_one_that_was_ahead_for_longer_costs_two_hours_for_each_hour(store: HistoryStore, restarts: bool) -> None:
    write_ahead(store, restarts=restarts, moments=13)
    assert 2 * SLOTS + 13 - len(store.moments(0)) == 2 * 12


def test_data_from_ahead_of_the_clock_delete_nothing(store: HistoryStore) -> None:
    history_writer = HistoryWriter(store, keep_days=1, clock=lambda: DAY)
    for at in (0.0, 3600.0, 30 * DAY):
        history_writer.note(judged(at))
        history_writer.step()
    assert len(store.moments(0)) == 3


def test_what_the_disk_refuses_is_written_when_it_is_well_again(tmp_path: Path, caplog: Any) -> None:
    clock = Clock()
    store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300, timer=clock)
    history_writer = HistoryWriter(store, keep_days=31)
    with blocked(tmp_path / "state"):
        for changes in (LIFE[:1], LIFE[1:]):
            history_writer.note(AlertsChanged(changes))
            history_writer.step()
        assert not store.part.works
        with pytest.raises(StorageError, match=r"history\.sqlite3") as refused:
            store.alerts(0)
        assert refused.value.shown is not None
        assert str(tmp_path) not in refused.value.shown
        told = [line for line in caplog.messages if line.startswith("the history does not work")]
        assert len(told) == len(set(told)) == 2  # the file is gone, then it cannot be made: each reason once
    history_writer.step()
    assert not store.part.works, "it is left alone for a moment"
    clock.now += RETRY_SECONDS
    history_writer.step()
    assert store.part.works
    assert len(store.alerts(0)[0].changes) == 3
    store.close()


def test_a_start_without_the_history_takes_its_alerts_over_later(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300)
    store.add_changes(LIFE[:1])
    store.close()
    adopted: list[Any] = []
    clock = Clock()
    with blocked(tmp_path / "state"):
        store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300, timer=clock)
        history_writer = HistoryWriter(store, keep_days=31)
        history_writer.hand_late_alerts_to(adopted.extend)
        assert history_writer.unfinished() == ()
        assert not store.part.works
    clock.now += RETRY_SECONDS
    history_writer.step()
    history_writer.step()
    assert [alert.server_name for alert in adopted] == [LIFE[0].alert.server_name]
    assert store.part.works
    store.close()


def test_a_queue_that_is_full_loses_the_oldest_and_counts_it(tmp_path: Path) -> None:
    with blocked(tmp_path / "state"):
        store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300, timer=Clock())
        history_writer = HistoryWriter(store, keep_days=31)
        for slot in range(1010):
            history_writer.note(judged(slot * 300.0))
    assert store.part.dropped == 10


def test_the_thread_writes_all_before_it_ends(store: HistoryStore) -> None:
    history_writer = HistoryWriter(store, keep_days=31)
    thread = threading.Thread(target=history_writer.run)
    thread.start()
    for slot in range(20):
        history_writer.note(judged(slot * 300.0))
    history_writer.stop()
    thread.join(60)
    assert not thread.is_alive()
    assert len(store.moments(0)) == 20
