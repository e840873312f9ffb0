from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from nordiq_watch.storage.history import HistoryStore

OLD_SCHEMA = """
CREATE TABLE alerts (id INTEGER PRIMARY KEY, server TEXT NOT NULL, kind TEXT NOT NULL, raised_at REAL NOT NULL,
                     ended_at REAL, state BLOB NOT NULL);
CREATE UNIQUE INDEX open_alerts ON alerts (server, kind) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_time ON alerts (raised_at);
CREATE TABLE changes (id INTEGER PRIMARY KEY, alert INTEGER NOT NULL REFERENCES alerts, at REAL NOT NULL,
                      change TEXT NOT NULL, previous_level TEXT NOT NULL, level TEXT NOT NULL, risk_score REAL,
                      message TEXT NOT NULL);
CREATE INDEX changes_by_alert ON changes (alert);
CREATE TABLE rosters (id INTEGER PRIMARY KEY, servers TEXT NOT NULL UNIQUE);
CREATE TABLE moments (slot INTEGER PRIMARY KEY, at REAL NOT NULL, environment TEXT NOT NULL, summary TEXT NOT NULL,
                      roster INTEGER NOT NULL REFERENCES rosters, risks BLOB NOT NULL);
INSERT INTO alerts VALUES (1, 'a', 'risk', 500.0, NULL, '{}');
PRAGMA user_version = 1;
"""


def write_old_file(path: Path, *, slots: int, roster: Callable[[int], list[str]]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_SCHEMA)
        for slot in range(1, slots + 1):
            servers = roster(slot)
            risks = zlib.compress(np.array([slot * 100, *[65535] * (len(servers) - 1)], "<u2").tobytes())
            connection.execute("INSERT INTO rosters VALUES (?, ?)", (slot, json.dumps(servers)))
            connection.execute(
                "INSERT INTO moments VALUES (?, ?, ?, '{}', ?, ?)",
                (slot, slot * 300.0, '{"prob_30m": 0.5}', slot, risks),
            )
        connection.commit()


def test_a_file_of_the_first_schema_is_taken_over_and_shrinks(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "history.sqlite3"
    write_old_file(path, slots=40, roster=lambda slot: ["a", f"job-{slot}", *(f"host-{n:04}" for n in range(1000))])
    before = path.stat().st_size
    caplog.set_level("INFO")
    store = HistoryStore(path, slot_seconds=300)
    assert store.risks("a", since=301) == tuple((slot * 300.0, float(slot)) for slot in range(2, 41))
    assert store.risks("job-7", since=0) == ((2100.0, None),)
    assert store.moments(since=12_000)[0].environment == {"prob_30m": 0.5}
    assert store._store.connection.execute("SELECT server FROM alerts").fetchall() == [("a",)]
    store.close()
    assert path.stat().st_size < before / 8
    assert "schema 2" in caplog.text


def test_a_file_of_the_first_schema_that_is_damaged_is_kept_beside(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite3"
    write_old_file(path, slots=3, roster=lambda slot: [f"job-{slot}"])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE rosters SET servers = 'no list' WHERE id = 2")
        connection.commit()
    store = HistoryStore(path, slot_seconds=300)
    assert store.moments(since=0) == ()
    assert list(tmp_path.glob("*.corrupt-*"))
    store.close()
