"""What was fetched so far, in a directory: a Parquet file per chunk, and a state file that says how far it is.

A fetch that is broken off goes on where it ended, as long as it is for the same source, rules and grid.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from nordiq_watch.atomic_file import make_directories, replace_file
from nordiq_watch.errors import DatasetError
from nordiq_watch.importing.row_file import RowFile
from nordiq_watch.records.servers import GivenLabels

_STATE = "state.json"
_MICROSECONDS = 1_000_000


class SpoolState(msgspec.Struct, frozen=True):
    """what: digest of all that the content depends on. first, until: all slots from `first` on and before `until` are
    there. parts: number of files. notes: what was left out so far, by reason: how many, and in words. given: labels of
    servers by their series, by server.
    """

    what: str
    first: int
    until: int
    parts: int = 0
    notes: dict[str, tuple[int, str]] = {}
    given: dict[str, GivenLabels] = {}


_decoder = msgspec.json.Decoder(SpoolState)


class Spool:
    """OSError if the directory cannot be written."""

    def __init__(self, directory: Path, *, metrics: Sequence[str], interval_seconds: int) -> None:
        self._directory = directory
        self._interval_seconds = interval_seconds
        self._metrics = tuple(metrics)

    def begin(self, *, what: str, first: int) -> SpoolState:
        """The state to go on from; a new one, in an empty directory, unless there is one of the same kind that covers
        `first`.
        """
        state = self._read()
        if state is not None and state.what == what and state.first <= first <= state.until:
            return state
        shutil.rmtree(self._directory, ignore_errors=True)
        make_directories(self._directory)
        return SpoolState(what, first, first)

    def add(
        self,
        state: SpoolState,
        slots: Mapping[tuple[str, int], Mapping[str, float]],
        *,
        until: int,
        notes: dict[str, tuple[int, str]],
        given: Mapping[str, GivenLabels],
    ) -> SpoolState:
        """Slots of servers with their values; all there are before `until`. Durable on return."""
        parts = state.parts
        if slots:
            self._write(self._directory / f"part-{parts:06d}.parquet", slots)
            parts += 1
        state = SpoolState(state.what, state.first, until, parts, notes, dict(given))
        replace_file(self._directory / _STATE, msgspec.json.encode(state))
        return state

    def files(self) -> list[Path]:
        """Those of the state, in order. DatasetError if there are none."""
        state = self._read()
        found = [] if state is None else [self._directory / f"part-{part:06d}.parquet" for part in range(state.parts)]
        if not found:
            raise DatasetError(f"{self._directory}: nothing was fetched")
        return found

    def _write(self, path: Path, slots: Mapping[tuple[str, int], Mapping[str, float]]) -> None:
        draft = path.with_suffix(".draft")
        with RowFile(draft, self._metrics) as file:
            for (server, slot), values in sorted(slots.items(), key=lambda item: (item[0][1], item[0][0])):
                file.add(server, slot * self._interval_seconds * _MICROSECONDS, values)
        draft.replace(path)

    def _read(self) -> SpoolState | None:
        try:
            return _decoder.decode((self._directory / _STATE).read_bytes())
        except (OSError, msgspec.MsgspecError, ValueError):
            return None


def remove_spool(directory: Path) -> None:
    """Nothing is left of what was fetched, nor of the directories that were made for it."""
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):  # they hold other things
        directory.parent.rmdir()
        directory.parent.parent.rmdir()
