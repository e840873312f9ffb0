"""Locks the state directory for one daemon: two would each delete journal entries that only the other has seen."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from nordiq_watch.atomic_file import make_directories, open_regular, sync_directory
from nordiq_watch.errors import ConfigError
from nordiq_watch.parts import Part, Parts

_LOCK = "daemon.lock"


class StateLock:
    """Locks the directory until `close`. The constructor raises ConfigError if another daemon holds the lock.

    If no lock can be taken, its part fails and `check` tries again: an unwritable directory stops no daemon.
    """

    def __init__(self, path: Path, *, part: Part | None = None) -> None:
        self._path = path
        self._part = part or Parts(hidden=(path,)).of("lock")
        self._lock: IO[bytes] | None = None
        try:
            self._try()
        except BlockingIOError:
            raise ConfigError(
                f"state.dir {path} is in use by another daemon. Stop that one, or give this one a directory of its own."
            ) from None

    def check(self) -> None:
        """Takes the lock if that was not possible so far."""
        if self._lock is None:
            try:
                self._try()
            except BlockingIOError:
                self._part.fail("another daemon uses state.dir, and would empty this one's journal: stop one of them")

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _try(self) -> None:
        """Raises BlockingIOError if another daemon holds the lock."""
        try:
            make_directories(self._path)
            lock = open(self._path / _LOCK, "ab", opener=open_regular)  # noqa: SIM115 - held as long as the daemon runs
        except OSError as error:
            self._part.fail(f"{_LOCK} cannot be written ({error.strerror})")
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise
        except OSError as error:
            lock.close()
            self._part.fail(f"{_LOCK} cannot be locked ({error.strerror})")
            return
        with suppress(OSError):  # the lock holds in any case
            sync_directory(self._path)
        self._lock = lock
        self._part.recover()
