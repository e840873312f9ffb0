"""The history: every alert with its changes, the state of the fleet, and each server's risk, slot by slot.

One row per slot for the fleet: the last answer of that slot, with the risks in the order of the servers' numbers
(`server_numbers`), so that a fleet with changing names takes no more space than a constant one. One thread writes;
readers have their own connections.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from nordiq_watch.api.enums import Change, Level
from nordiq_watch.errors import StorageError
from nordiq_watch.parts import Part, Parts
from nordiq_watch.records.alerts import Alert, AlertChange
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.storage.history_tables import SCHEMA, SCHEMA_VERSION, upgrade
from nordiq_watch.storage.packed_risks import pack_risks, read_risk
from nordiq_watch.storage.schema import open_store
from nordiq_watch.storage.server_numbers import ServerNumbers
from nordiq_watch.storage.store import Store

_alert_decoder = msgspec.json.Decoder(Alert)


@dataclass(frozen=True, slots=True)
class PastChange:
    at: float
    change: Change
    previous_level: Level
    level: Level
    risk_score: float | None
    message: str


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert in its last or present state, and its changes, oldest first."""

    alert: Alert
    changes: tuple[PastChange, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of the fleet at the end of a slot."""

    at: float
    environment: Mapping[str, Any]
    summary: Mapping[str, Any]


class HistoryStore:
    """Every method raises StorageError while the file does not work, and may work again later.

    slot_seconds: one moment is kept per slot of this length. part: reports whether the store works.
    """

    _numbers: ServerNumbers

    def __init__(
        self,
        path: Path,
        *,
        slot_seconds: int,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        part: Part | None = None,
    ) -> None:
        self._path = path
        self._slot_seconds = slot_seconds
        self._clock = clock
        self.part = part or Parts(hidden=(path.parent,)).of("history")
        self._store = Store(path, connect=self._connect, part=self.part, timer=timer)

    def _connect(self) -> sqlite3.Connection:
        connection = open_store(self._path, schema=SCHEMA, version=SCHEMA_VERSION, clock=self._clock, upgrade=upgrade)
        self._numbers = ServerNumbers(connection)
        return connection

    # --- writing: one thread only ---

    def check(self) -> None:
        """Opens the file if necessary. Raises StorageError if that fails."""
        self._store.check()

    def confirm(self) -> None:
        """Reports to the part that everything queued was written."""
        self._store.confirm()

    def add_changes(self, changes: Sequence[AlertChange]) -> None:
        """Stores all of them or none."""
        with self._store.writing() as connection:
            for change in changes:
                _add_change(connection, change)

    def add_moment(
        self, at: float, environment: Mapping[str, Any], summary: Mapping[str, Any], *,
        servers: Sequence[str], scores: DoubleArray,
    ) -> None:  # fmt: skip
        """Stores the state of the fleet, replacing an earlier one of the same slot. scores (servers,): NaN if not
        scored.
        """
        counts = {name: value for name, value in summary.items() if not name.startswith("top_")}
        slot = at // self._slot_seconds
        with self._numbering() as connection:
            packed = pack_risks(self._numbers.find(servers, at), scores)
            connection.execute(
                "DELETE FROM moments WHERE at >= ? AND at < ?",
                (slot * self._slot_seconds, (slot + 1) * self._slot_seconds),
            )
            connection.execute(
                "INSERT INTO moments (at, environment, summary, risks) VALUES (?, ?, ?, ?)",
                (at, json.dumps(dict(environment)), json.dumps(counts), packed),
            )

    def prune(self, before: float) -> None:
        """Deletes older entries; open alerts are kept."""
        with self._numbering() as connection:
            old = "SELECT id FROM alerts WHERE ended_at < ?"
            connection.execute(f"DELETE FROM changes WHERE alert IN ({old})", (before,))
            connection.execute("DELETE FROM alerts WHERE ended_at < ?", (before,))
            connection.execute("DELETE FROM moments WHERE at < ?", (before,))
            connection.execute(
                "DELETE FROM leases WHERE ends_at < (SELECT coalesce(min(at), ?) FROM moments)", (before,)
            )

    def forget(self, server: str) -> bool:
        """Deletes a server's alerts and risks; returns whether there were any."""
        with self._numbering() as connection:
            ids = "SELECT id FROM alerts WHERE server = ?"
            connection.execute(f"DELETE FROM changes WHERE alert IN ({ids})", (server,))
            alerts = connection.execute("DELETE FROM alerts WHERE server = ?", (server,)).rowcount
            leases = connection.execute("DELETE FROM leases WHERE server = ?", (server,)).rowcount
        self._numbers.forget_cache()
        return alerts + leases > 0

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives servers other names, old → new; alerts and risks go on under these."""
        with self._numbering() as connection:
            for old, new in names.items():
                connection.execute("UPDATE leases SET server = ? WHERE server = ?", (new, old))
                rows = connection.execute("SELECT id, state FROM alerts WHERE server = ?", (old,)).fetchall()
                for number, state in rows:
                    renamed = msgspec.json.encode(replace(self._read_alert(state), server_name=new))
                    connection.execute(
                        "UPDATE OR IGNORE alerts SET server = ?, state = ? WHERE id = ?", (new, renamed, number)
                    )
        self._numbers.forget_cache()

    def close(self) -> None:
        self._store.close()

    @contextmanager
    def _numbering(self) -> Iterator[sqlite3.Connection]:
        """A transaction that changes numbers; the numbers in memory follow the file."""
        self._store.check()
        try:
            with self._store.writing() as connection:
                yield connection
        except BaseException:
            self._numbers.forget_cache()
            raise

    # --- reading: from any thread ---

    def unfinished(self) -> tuple[Alert, ...]:
        """Alerts that were active at the last recorded change."""
        with self._store.reading() as connection:
            rows = connection.execute("SELECT state FROM alerts WHERE ended_at IS NULL ORDER BY id").fetchall()
            return tuple(self._read_alert(state) for (state,) in rows)

    def newest(self, until: float = float("inf")) -> float | None:
        """Time of the newest moment or change up to `until`; None if there is none."""
        with self._store.reading() as connection:
            (moment,) = connection.execute("SELECT max(at) FROM moments WHERE at <= ?", (until,)).fetchone()
            (change,) = connection.execute("SELECT max(at) FROM changes WHERE at <= ?", (until,)).fetchone()
        return max((at for at in (moment, change) if at is not None), default=None)

    def oldest(self) -> float | None:
        """Time of the oldest moment; None if there is none."""
        with self._store.reading() as connection:
            (moment,) = connection.execute("SELECT min(at) FROM moments").fetchone()
        return None if moment is None else float(moment)

    def alerts(self, since: float, *, server: str | None = None) -> tuple[PastAlert, ...]:
        """Alerts active at `since` or raised later, newest first."""
        where, values = "(ended_at IS NULL OR ended_at >= ?)", [since, *([server] if server is not None else [])]
        if server is not None:
            where += " AND server = ?"
        with self._store.reading() as connection:
            rows = connection.execute(
                f"SELECT id, state FROM alerts WHERE {where} ORDER BY raised_at DESC, id DESC", values
            ).fetchall()
            changes: dict[int, list[PastChange]] = {number: [] for number, _ in rows}
            for number, *fields in connection.execute(
                "SELECT alert, at, change, previous_level, level, risk_score, message FROM changes WHERE alert IN "
                f"(SELECT id FROM alerts WHERE {where}) ORDER BY id",
                values,
            ):
                changes.setdefault(number, []).append(self._read_change(*fields))
            return tuple(PastAlert(self._read_alert(state), tuple(changes[number])) for number, state in rows)

    def _read_alert(self, state: bytes) -> Alert:
        try:
            return _alert_decoder.decode(state)
        except msgspec.DecodeError as error:
            raise self._not_ours(error) from error

    def _read_change(
        self, at: float, change: str, previous: str, level: str, risk_score: float | None, message: str
    ) -> PastChange:
        try:
            return PastChange(at, Change(change), Level(previous), Level(level), risk_score, message)
        except ValueError as error:
            raise self._not_ours(error) from error

    def _not_ours(self, error: Exception) -> StorageError:
        return StorageError(f"{self._path.name}: an alert in it cannot be read: {error}")

    def moments(self, since: float) -> tuple[Moment, ...]:
        """States of the fleet from `since` on, oldest first."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT at, environment, summary FROM moments WHERE at >= ? ORDER BY at", (since,)
            ).fetchall()
        return tuple(Moment(at, json.loads(environment), json.loads(summary)) for at, environment, summary in rows)

    def risks(self, server: str, since: float) -> tuple[tuple[float, float | None], ...]:
        """Times and risks of one server from `since` on, oldest first; None where it was not scored."""
        with self._store.reading() as connection:
            return self._read_risks(connection, server, since)

    def _read_risks(
        self, connection: sqlite3.Connection, server: str, since: float
    ) -> tuple[tuple[float, float | None], ...]:
        rows = connection.execute(
            "SELECT at, number, risks FROM leases JOIN moments ON at BETWEEN max(begins_at, ?) AND ends_at "
            "WHERE server = ? AND ends_at >= ?",
            (since, server, since),
        )
        found = {at: there for at, number, risks in rows if (there := read_risk(risks, number)) is not None}
        return tuple((at, found[at][0]) for at in sorted(found))


def _add_change(connection: sqlite3.Connection, change: AlertChange) -> None:
    alert = change.alert
    state = msgspec.json.encode(alert)
    open_one = connection.execute(
        "SELECT id FROM alerts WHERE server = ? AND kind = ? AND ended_at IS NULL", (alert.server_name, alert.kind)
    ).fetchone()
    if open_one is None:
        number = connection.execute(
            "INSERT INTO alerts (server, kind, raised_at, ended_at, state) VALUES (?, ?, ?, ?, ?)",
            (alert.server_name, alert.kind, alert.raised_at, alert.ended_at, state),
        ).lastrowid
    else:
        (number,) = open_one
        connection.execute("UPDATE alerts SET ended_at = ?, state = ? WHERE id = ?", (alert.ended_at, state, number))
    connection.execute(
        "INSERT INTO changes (alert, at, change, previous_level, level, risk_score, message) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (number, change.at, change.change, change.previous_level, alert.level, alert.risk_score, alert.message),
    )
