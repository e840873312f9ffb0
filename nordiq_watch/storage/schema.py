"""Opening a database of known tables: made when new, upgraded when older, left alone when a newer program's.

A file with other content is never written to. `open_store` moves it aside and begins a fresh one.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.database import (
    CorruptDatabase,
    has_tables,
    move_aside,
    open_database,
    storage_errors,
    transaction,
)

log = logging.getLogger(__name__)


Upgrade = Callable[[sqlite3.Connection], None]
"""Brings the tables of an older version to today's, inside a transaction."""


def open_store(
    path: Path, *, schema: str, version: int, clock: Callable[[], float] = time.time, upgrade: Upgrade | None = None
) -> sqlite3.Connection:
    """As `open_prepared`, but a damaged or foreign file is kept under another name and a fresh one is begun."""
    try:
        return open_prepared(path, schema=schema, version=version, upgrade=upgrade)
    except CorruptDatabase as error:
        aside = move_aside(path, clock=clock)
        log.error("%s; it is kept as %s, and a fresh one was begun", error, aside.name)
        return open_prepared(path, schema=schema, version=version, upgrade=upgrade)


def open_prepared(
    path: Path,
    *,
    schema: str,
    version: int,
    upgrade: Upgrade | None = None,
    in_log: bool = True,
    compact: bool = True,
) -> sqlite3.Connection:
    """A connection to a database with the tables of this version. schema: statements, each ended by a semicolon.

    Raises CorruptDatabase if the file is damaged or has tables that this program cannot read, StorageError if it cannot
    be opened or is of a newer version. in_log: see `open_database`. compact: whether an upgrade frees what it left.
    """
    connection = open_database(path, in_log=in_log)
    try:
        with storage_errors(path):
            upgraded = _prepare(connection, path, schema=schema, version=version, upgrade=upgrade)
            if upgraded and compact:
                connection.execute("VACUUM")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, schema: str, version: int, upgrade: Upgrade | None) -> bool:
    """Whether the file was of an older version."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > version:
        raise StorageError(
            f"{path}: was written by a newer nordiq_watch (schema {found}, this one knows up to {version}). Run that "
            "one, or move the file away to begin without it."
        )
    if found == version:
        return False
    if found and upgrade is not None:
        _upgrade(connection, path, version=version, upgrade=upgrade)
        return True
    if has_tables(connection):
        raise CorruptDatabase(f"{path}: has the schema {found}, which this nordiq_watch cannot read")
    with transaction(connection):
        for statement in schema.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
    return False


def _upgrade(connection: sqlite3.Connection, path: Path, *, version: int, upgrade: Upgrade) -> None:
    log.info("%s is brought from an older schema to schema %d", path, version)
    with transaction(connection):
        upgrade(connection)
        connection.execute(f"PRAGMA user_version = {version}")
