"""A database of the state directory that may fail and recover. It is opened when first needed and again after every
failure, so that a full, read-only or missing disk requires no restart of the daemon.

One thread writes. It calls `check` in each round of its loop, which notices a deleted or replaced file, and `confirm`
once everything queued is written. Readers in other threads have their own connections.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from nordiq_watch.errors import StorageError
from nordiq_watch.parts import Part
from nordiq_watch.storage.database import check_kind, find_inodes, storage_errors, transaction

RETRY_SECONDS = 5.0
"""Pause before reopening a file that could not be opened."""

_TIMEOUT_SECONDS = 10.0


class Store:
    """connect: opens the file, creates its tables, raises StorageError. part: reports whether the store works.

    The constructor tries to open it; a failure is reported by the part and raised by the next use.
    """

    def __init__(
        self,
        path: Path,
        *,
        connect: Callable[[], sqlite3.Connection],
        part: Part,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._connect = connect
        self._part = part
        self._timer = timer
        self._connection: sqlite3.Connection | None = None
        self._inodes: tuple[tuple[int, int], ...] = ()
        self._retry_at = float("-inf")
        self._unread = False
        with suppress(StorageError):  # the part says it
            self.check()

    # --- the writing thread ---

    @property
    def connection(self) -> sqlite3.Connection:
        """The writer's connection. Raises StorageError while the store does not work; a later call may succeed."""
        self.check()
        assert self._connection is not None  # or check had raised
        return self._connection

    def check(self) -> None:
        """Opens the file if it is closed, deleted or replaced, and proves that it is writable.

        Raises StorageError if that fails, and, without another attempt, if opening it failed less than RETRY_SECONDS
        ago.
        """
        if self._connection is not None and find_inodes(self._path) != self._inodes:
            self._part.fail(f"{self._path.name} was deleted or replaced while it was open: it is opened anew")
            self._disconnect()
        if self._unread:
            self._disconnect()
        if self._connection is None:
            if self._timer() < self._retry_at:
                raise self._away()
            self._retry_at = self._timer() + RETRY_SECONDS
            with self._watching():
                self._open()

    def confirm(self) -> None:
        """Reports that the store works: everything queued was written."""
        if self._connection is not None:
            self._part.recover()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises StorageError if the disk fails; the file is then reopened."""
        connection = self.connection
        with self._watching(), storage_errors(self._path), transaction(connection):
            yield connection

    @contextmanager
    def looking(self) -> Iterator[sqlite3.Connection]:
        """The writer's own connection, for reading."""
        connection = self.connection
        with self._watching(), storage_errors(self._path):
            yield connection

    def close(self) -> None:
        self._disconnect()

    # --- any thread ---

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A separate read-only connection. Raises StorageError if the file cannot be read."""
        try:
            with storage_errors(self._path), self._connect_reader() as connection:
                yield connection
        except StorageError as error:
            self._unread = True  # the writer opens it anew, and says so if that does not help
            error.shown = self._part.describe(error)
            raise

    # --- opening ---

    def _open(self) -> None:
        self._connection = self._connect()
        with storage_errors(self._path):
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            with transaction(self._connection):
                self._connection.execute(f"PRAGMA user_version = {version}")  # written, so that a refusal shows now
            with self._connect_reader() as reader:
                reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._inodes = find_inodes(self._path)
        self._unread = False
        self._retry_at = float("-inf")

    @contextmanager
    def _connect_reader(self) -> Iterator[sqlite3.Connection]:
        check_kind(self._path)
        name = f"{self._path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(name, uri=True, timeout=_TIMEOUT_SECONDS)) as connection:
            yield connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        try:
            yield
        except StorageError as error:
            self._part.fail(error)
            self._disconnect()
            error.shown = self._part.describe(error)
            raise

    def _away(self) -> StorageError:
        error = StorageError(self._part.status.reason or f"{self._path.name} could not be opened a moment ago")
        error.shown = self._part.describe(error)
        return error
