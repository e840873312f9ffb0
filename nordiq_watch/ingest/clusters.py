"""Servers of several clusters: HOST while collectors name one cluster or none, HOST@CLUSTER once there are several.

When a second cluster turns up, the servers of the first one are renamed, once, with all that is known of them. Until
that is done they keep their names, so that no sample goes to a name that is about to change. What was learnt is in a
file of the state directory: a restart, in the middle of it too, changes no name.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from nordiq_watch.atomic_file import replace_file

log = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
"""Between two writes of names that are new: a fleet's arrive in many requests."""

PATIENCE_SECONDS = 30.0
"""For requests that are being read with the old names; beyond it, the next request tries again."""


class _Known(msgspec.Struct):
    """first: the cluster that was seen first. several: another one was seen too. hosts: those of the first one that are
    known by their bare name, empty once they were renamed.
    """

    first: str | None = None
    several: bool = False
    hosts: list[str] = []


_decoder = msgspec.json.Decoder(_Known)


class Clusters:
    """Thread-safe. path: of the file; None keeps nothing. clock: seconds.

    Beyond `most` servers of one cluster, those that are not tracked are forgotten: short-lived hosts bring ever new
    names.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        most: int = 1 << 17,
        tracks: Callable[[str], bool] = lambda host: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._most = most
        self._tracks = tracks
        self._clock = clock
        known = _read(path) if path is not None else _Known()
        self._first = known.first
        self._several = known.several
        self._hosts = dict.fromkeys(known.hosts)
        self._saved_at = -SAVE_SECONDS
        self._is_saved = True
        self._failed = False
        self._lock = threading.Condition()
        self._naming = 0
        self._alone = False

    def name_of(self, host: str, cluster: str) -> str:
        """cluster: empty for a series that names none; its server is called HOST whatever else there is."""
        if not cluster:
            return host
        with self._lock:
            if self._first is None:
                self._first, self._is_saved = cluster, False
            if cluster != self._first and not self._several:
                self._several, self._is_saved = True, False
                log.warning(
                    "a second cluster, %.100r beside %.100r, sends servers: each is called HOST@CLUSTER from now on",
                    cluster,
                    self._first,
                )
            if cluster == self._first and (not self._several or self._hosts):
                if host not in self._hosts:
                    self._make_room()
                    self._hosts[host], self._is_saved = None, False
                return host
        return f"{host}@{cluster}"

    def _make_room(self) -> None:
        if len(self._hosts) >= self._most:
            self._hosts = {host: None for host in self._hosts if self._tracks(host)}

    @property
    def is_renaming(self) -> bool:
        """Whether servers are still to be renamed."""
        return self._several and bool(self._hosts)

    def renames(self) -> dict[str, str]:
        """Old name → new name of the servers that are to be renamed."""
        with self._lock:
            return {host: f"{host}@{self._first}" for host in self._hosts} if self._several else {}

    def finish(self) -> None:
        """They were renamed."""
        with self._lock:
            self._hosts.clear()
            self._is_saved = False
        self.save()

    def save(self) -> bool:
        """Writes what is new, now and then; at once if servers are to be renamed. Whether the file has all of it."""
        with self._lock:
            is_due = self._several or self._clock() - self._saved_at >= SAVE_SECONDS
            if self._is_saved or self._path is None or not is_due:
                return self._is_saved or self._path is None
            known = _Known(self._first, self._several, list(self._hosts))
            self._saved_at = self._clock()
            try:
                replace_file(self._path, msgspec.json.encode(known))
            except OSError as error:
                self._note_failure(self._path, error)
                return False
            self._is_saved, self._failed = True, False
            return True

    @contextmanager
    def naming(self) -> Iterator[None]:
        """While series are named and their samples are on the way to the window."""
        with self._lock:
            self._lock.wait_for(lambda: not self._alone)
            self._naming += 1
        try:
            yield
        finally:
            with self._lock:
                self._naming -= 1
                self._lock.notify_all()

    @contextmanager
    def alone(self, *, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[bool]:
        """While nothing is named and no sample is on the way. False: another thread is at it, or it takes too long."""
        with self._lock:
            mine = not self._alone
            self._alone = True
            quiet = mine and self._lock.wait_for(lambda: not self._naming, patience_seconds)
        try:
            yield quiet
        finally:
            if mine:
                with self._lock:
                    self._alone = False
                    self._lock.notify_all()

    def _note_failure(self, path: Path, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            log.error("%s cannot be written (%s): after a restart, names of servers may change", path, error.strerror)


def _read(path: Path) -> _Known:
    """Nothing for a file that is not there. One that cannot be read is said, and taken as nothing."""
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return _Known()
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        log.error("%s cannot be read (%s): clusters are learnt anew", path, error)
        return _Known()
