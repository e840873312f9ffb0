from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.alerts import LIFE

from nordiq_watch.events import AlertsChanged, FleetJudged
from nordiq_watch.storage.historian import Historian
from nordiq_watch.storage.history import HistoryStore

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


def test_what_the_disk_refuses_is_written_later(store: HistoryStore, caplog: Any) -> None:
    historian = Historian(store, keep_days=31)
    store._connection.execute("PRAGMA query_only = 1")
    historian.note(AlertsChanged(LIFE[:1]))
    historian.step()
    historian.note(AlertsChanged(LIFE[1:]))
    historian.step()
    assert "is not written for now" in caplog.text and store.alerts(0) == ()
    store._connection.execute("PRAGMA query_only = 0")
    historian.step()
    assert len(store.alerts(0)[0].changes) == 3


def test_the_thread_writes_all_before_it_ends(store: HistoryStore) -> None:
    historian = Historian(store, keep_days=31)
    thread = threading.Thread(target=historian.run)
    thread.start()
    for slot in range(20):
        historian.note(judged(slot * 300.0))
    historian.stop()
    thread.join(60)
    assert not thread.is_alive() and len(store.moments(0)) == 20
