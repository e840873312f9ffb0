"""The tables of the history, and the upgrade of files from older versions."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from nordiq_watch.storage.database import CorruptDatabase
from nordiq_watch.storage.packed_risks import pack_risks
from nordiq_watch.storage.server_numbers import LEASES_SCHEMA, ServerNumbers

SCHEMA_VERSION = 2
_MOMENTS = """
CREATE TABLE moments (id INTEGER PRIMARY KEY, at REAL NOT NULL UNIQUE, environment TEXT NOT NULL,
                      summary TEXT NOT NULL, risks BLOB NOT NULL);
"""
SCHEMA = f"""
CREATE TABLE alerts (id INTEGER PRIMARY KEY, server TEXT NOT NULL, kind TEXT NOT NULL, raised_at REAL NOT NULL,
                     ended_at REAL, state BLOB NOT NULL);
CREATE UNIQUE INDEX open_alerts ON alerts (server, kind) WHERE ended_at IS NULL;
CREATE INDEX alerts_by_time ON alerts (raised_at);
CREATE TABLE changes (id INTEGER PRIMARY KEY, alert INTEGER NOT NULL REFERENCES alerts, at REAL NOT NULL,
                      change TEXT NOT NULL, previous_level TEXT NOT NULL, level TEXT NOT NULL, risk_score REAL,
                      message TEXT NOT NULL);
CREATE INDEX changes_by_alert ON changes (alert);
{_MOMENTS}{LEASES_SCHEMA}"""

_OLD_RISK, _OLD_UNSCORED, _OLD_PER_POINT = np.dtype("<u2"), 65535, 100


def upgrade(connection: sqlite3.Connection) -> None:
    """Upgrades from schema 1, which stored a list of names per slot, within a transaction. CorruptDatabase if it is
    damaged.
    """
    connection.execute("ALTER TABLE moments RENAME TO old_moments")
    for statement in (_MOMENTS + LEASES_SCHEMA).split(";"):
        connection.execute(statement)
    numbers = ServerNumbers(connection)
    read_roster = lru_cache(maxsize=8)(lambda number: _read_roster(connection, number))
    try:
        for (slot,) in connection.execute("SELECT slot FROM old_moments ORDER BY at").fetchall():
            at, environment, summary, roster, risks = connection.execute(
                "SELECT at, environment, summary, roster, risks FROM old_moments WHERE slot = ?", (slot,)
            ).fetchone()
            servers = read_roster(roster)
            stored = np.frombuffer(zlib.decompress(risks), _OLD_RISK)
            scores = np.where(stored == _OLD_UNSCORED, np.nan, stored / _OLD_PER_POINT)
            connection.execute(
                "INSERT OR REPLACE INTO moments (at, environment, summary, risks) VALUES (?, ?, ?, ?)",
                (at, environment, summary, pack_risks(numbers.find(servers, at), scores)),
            )
    except (ValueError, TypeError, zlib.error) as error:
        raise CorruptDatabase(f"the history of an older version cannot be read: {error}") from error
    connection.execute("DROP TABLE old_moments")
    connection.execute("DROP TABLE rosters")


def _read_roster(connection: sqlite3.Connection, number: int) -> Sequence[str]:
    (servers,) = connection.execute("SELECT servers FROM rosters WHERE id = ?", (number,)).fetchone()
    names: list[str] = json.loads(servers)
    return names
