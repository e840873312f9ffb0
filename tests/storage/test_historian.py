from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.alerts import LIFE
from support.trouble import Clock, blocked

from nordiq_watch.errors import StorageError
from nordiq_watch.events import AlertsChanged, FleetJudged
from nordiq_watch.storage.historian import Historian
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.store import RETRY_SECONDS

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    opened = HistoryStore(tmp_path / "history.sqlite3", slot_seconds=300)
    yield opened
    opened.close()


def judged(at: float) -> FleetJudged:
    return FleetJudged(at, ("a",), np.array([12.0]), {"prob_30m": 0.5}, {"avg_risk_score": 12.0})


def test_events_are_written_in_order(store: HistoryStore) -> None:
    historian = Historian(store, keep_days=31)
    for change in LIFE:
        historian.note(AlertsChanged((change,)))
    historian.note(judged(1500))
    assert store.newest() is None
    historian.step()
    assert [change.change for change in store.alerts(0)[0].changes] == ["raised", "escalated", "resolved"]
    assert store.risks("a", 0) == ((1500, 12.0),)


def test_what_is_older_than_the_retention_goes(store: HistoryStore) -> None:
    historian = Historian(store, keep_days=1)
    for at in (0.0, DAY / 2, DAY + 100):
        historian.note(judged(at))
        historian.step()
    assert [moment.at for moment in store.moments(0)] == [DAY / 2, DAY + 100]


def test_a_clock_that_was_ahead_for_a_moment_costs_hours_of_the_past_not_all_of_it(store: HistoryStore) -> None:
    clock = Clock(0.0)
    historian = Historian(store, keep_days=31, clock=clock)
    for hour in range(41):
        clock.now = hour * 3600.0
        historian.note(judged(clock.now))
    ahead = clock.now + 365 * DAY  # the sender's clock and the daemon's, as on one host
    for clock.now, at in ((ahead, ahead), (41 * 3600.0, 41 * 3600.0), (42 * 3600.0, 42 * 3600.0)):
        historian.note(judged(at))
        historian.step()
    assert len(store.moments(0)) == 41 - 2 + 3
    assert store.newest(until=clock.now) == 42 * 3600.0


def test_data_from_ahead_of_the_clock_delete_nothing(store: HistoryStore) -> None:
    historian = Historian(store, keep_days=1, clock=lambda: DAY)
    for at in (0.0, 3600.0, 30 * DAY):
        historian.note(judged(at))
        historian.step()
    assert len(store.moments(0)) == 3


def test_what_the_disk_refuses_is_written_when_it_is_well_again(tmp_path: Path, caplog: Any) -> None:
    clock = Clock()
    store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300, timer=clock)
    historian = Historian(store, keep_days=31)
    with blocked(tmp_path / "state"):
        for changes in (LIFE[:1], LIFE[1:]):
            historian.note(AlertsChanged(changes))
            historian.step()
        assert not store.part.works
        with pytest.raises(StorageError, match=r"history\.sqlite3") as refused:
            store.alerts(0)
        assert refused.value.shown is not None and str(tmp_path) not in refused.value.shown
        told = [line for line in caplog.messages if line.startswith("the history does not work")]
        assert len(told) == len(set(told)) == 2  # the file is gone, then it cannot be made: each reason once
    historian.step()
    assert not store.part.works, "it is left alone for a moment"
    clock.now += RETRY_SECONDS
    historian.step()
    assert store.part.works and len(store.alerts(0)[0].changes) == 3
    store.close()


def test_a_start_without_the_history_takes_its_alerts_over_later(tmp_path: Path) -> None:
    store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300)
    store.add_changes(LIFE[:1])
    store.close()
    adopted: list[Any] = []
    clock = Clock()
    with blocked(tmp_path / "state"):
        store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300, timer=clock)
        historian = Historian(store, keep_days=31, adopt=adopted.extend)
        assert historian.unfinished() == () and not store.part.works
    clock.now += RETRY_SECONDS
    historian.step()
    historian.step()
    assert [alert.server_name for alert in adopted] == [LIFE[0].alert.server_name]
    assert store.part.works
    store.close()


def test_a_queue_that_is_full_loses_the_oldest_and_counts_it(tmp_path: Path) -> None:
    with blocked(tmp_path / "state"):
        store = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300, timer=Clock())
        historian = Historian(store, keep_days=31)
        for slot in range(1010):
            historian.note(judged(slot * 300.0))
    assert store.part.dropped == 10


def test_the_thread_writes_all_before_it_ends(store: HistoryStore) -> None:
    historian = Historian(store, keep_days=31)
    thread = threading.Thread(target=historian.run)
    thread.start()
    for slot in range(20):
        historian.note(judged(slot * 300.0))
    historian.stop()
    thread.join(60)
    assert not thread.is_alive() and len(store.moments(0)) == 20
