"""Opening an SQLite file of the state directory, and saying in one line what is wrong with it.

WAL, because a reader then never waits for the writer. synchronous=FULL, because in WAL mode NORMAL does not sync at a
commit: a killed process would lose nothing, but a power cut would lose what was already acknowledged. The price is one
fsync a transaction, which is why many batches share one.

Without WAL a commit is the deletion of the rollback journal, and synchronous=EXTRA syncs the directory after it: with
FULL a power cut could bring the journal back, and the next start would take back what was committed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nordiq_watch.atomic_file import make_directories, sync_directory
from nordiq_watch.errors import StorageError

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "Free some space on that disk.",
    sqlite3.SQLITE_READONLY: "Make it writable for this user.",
    sqlite3.SQLITE_CANTOPEN: "Its directory must exist and be writable for this user.",
    sqlite3.SQLITE_PERM: "Make it writable for this user.",
    sqlite3.SQLITE_BUSY: "Is another program reading or writing it?",
    sqlite3.SQLITE_LOCKED: "Is another program reading or writing it?",
    sqlite3.SQLITE_IOERR: "Look at the disk and at the kernel's log.",
}


class CorruptDatabase(StorageError):
    """The file's content is not a sound SQLite database."""


def open_database(path: Path, *, in_log: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode, to a file that was checked. CorruptDatabase, or StorageError if it cannot be.

    in_log=False: without WAL and unchecked, for large files whose content carries its own checksums; a reader then
    makes the writer wait, for as long as it reads.
    """
    with storage_errors(path):
        make_directories(path.parent)
        check_kind(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            if in_log:
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if in_log else 'EXTRA'}")
            if in_log:
                _check(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that never writes, not even to make the file. CorruptDatabase, or StorageError if it cannot be."""
    with storage_errors(path):
        check_kind(path)
        return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)


def has_tables(connection: sqlite3.Connection) -> bool:
    """False for a file that was made, but whose tables are not committed yet."""
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return bool(count)


def check_kind(path: Path) -> None:
    """StorageError for a pipe, a device or a socket: SQLite would wait for a pipe's other end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # SQLite makes the file, or says what is wrong with it, as with a directory
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise StorageError(f"{path}: is not a regular file. Move it away.")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise CorruptDatabase(f"{path}: {verdict}")


def find_inodes(path: Path) -> tuple[tuple[int, int], ...]:
    """Which files these are: the database, and its log, which has what was written last. Zeros where there is none.

    What is written to a file that was deleted or replaced while it was open is lost: its writer must open it anew.
    """
    return _inode_of(str(path)), _inode_of(f"{path}-wal")


def _inode_of(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)  # noqa: PTH116  # three times per batch of the feed
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def move_aside(path: Path, *, clock: Callable[[], float] = time.time) -> Path:
    """Renames a corrupt database to *.corrupt-<timestamp>, together with its log. Nothing is deleted.

    The log goes first: a log that is left behind would be replayed into the fresh file of the same name.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(clock()))
    aside = _free_name(path.with_name(f"{path.name}.corrupt-{stamp}"))
    with storage_errors(path):
        for suffix in ("-wal", "-shm", "-journal", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
                sync_directory(path.parent)
    return aside


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. SQLite ends a transaction by itself on some errors, a full disk for one."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read sees the same content, whatever another connection writes meanwhile."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()  # which does nothing where an error ended it


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite and the file system raise into StorageError: the file, the cause, what to do."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _CORRUPT:
            raise CorruptDatabase(f"{path}: {error}") from error
        raise StorageError(f"{path}: {error}. {_REMEDIES.get(code, '')}".rstrip()) from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}. Its directory must be writable for this user.") from error


def _free_name(path: Path) -> Path:
    """The path, with a number behind it when there is such a file already."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
