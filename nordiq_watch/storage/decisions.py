"""Decisions about models that must survive a restart: pin, rollback, refusals, generation, in one small readable JSON
file.

Written only by the reload worker, atomically, after every change.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from nordiq_watch.atomic_file import make_directories, open_regular, replace_file
from nordiq_watch.errors import StorageError
from nordiq_watch.parts import Part, Parts

_LINEAGE_LENGTH = 20


class RefusalState(StrEnum):
    """rejected: it failed a check. quarantined: the operator rolled it back."""

    REJECTED = "rejected"
    QUARANTINED = "quarantined"


class Refusal(Struct, frozen=True, kw_only=True):
    """A version that must not go live by itself.

    The refusal holds while the directory's fingerprint is the one seen then, and beyond that while the content is the
    same (`content_sha256`, None if never fully read). judged_in: newest slot and slot count of the window it was judged
    on; the refusal ends when all of these have left the window. judged_against: content of the live model it was
    compared with; the refusal ends when another model is live. None if its own bytes alone decided.
    """

    state: RefusalState
    fingerprint: str
    reason: str
    at: float
    content_sha256: str | None = None
    judged_in: tuple[int, int] | None = None
    judged_against: str | None = None


class Decisions(Struct, frozen=True, kw_only=True):
    """pinned: the version chosen by the operator. lineage: versions that were live, the last one is live now;
    live_sha256: its content.

    generation: number of the last swap; it never decreases, not even over a restart. judge: identifies the program
    version and settings that versions were held against.
    """

    pinned: str | None = None
    lineage: tuple[str, ...] = ()
    generation: int = 0
    refusals: dict[str, Refusal] = {}
    judge: str = ""
    live_sha256: str | None = None

    @property
    def live(self) -> str | None:
        return self.lineage[-1] if self.lineage else None

    @property
    def previous(self) -> str | None:
        return self.lineage[-2] if len(self.lineage) > 1 else None

    @property
    def quarantined(self) -> frozenset[str]:
        return frozenset(name for name, refusal in self.refusals.items() if refusal.state is RefusalState.QUARANTINED)

    def with_live(self, version: str, generation: int, *, content_sha256: str | None = None) -> Decisions:
        """`version` went live; a refusal of it is over."""
        past = tuple(name for name in self.lineage if name != version)
        refusals = {name: refusal for name, refusal in self.refusals.items() if name != version}
        return msgspec.structs.replace(
            self,
            lineage=(*past, version)[-_LINEAGE_LENGTH:],
            generation=generation,
            refusals=refusals,
            live_sha256=content_sha256,
        )

    def with_refusal(self, version: str, refusal: Refusal) -> Decisions:
        return msgspec.structs.replace(self, refusals={**self.refusals, version: refusal})

    def without_refusals(self, versions: Collection[str]) -> Decisions:
        """These versions are no longer refused."""
        kept = {name: refusal for name, refusal in self.refusals.items() if name not in versions}
        return msgspec.structs.replace(self, refusals=kept)

    def with_judge(self, mark: str) -> Decisions:
        """Another program version or other settings may accept rejected versions; quarantined ones stay refused."""
        if mark == self.judge:
            return self
        kept = {name: refusal for name, refusal in self.refusals.items() if refusal.state is not RefusalState.REJECTED}
        return msgspec.structs.replace(self, judge=mark, refusals=kept)

    def with_rollback(
        self, left: str, *, to: str, generation: int, refusal: Refusal, content_sha256: str | None = None
    ) -> Decisions:
        """`to` is live again, `left` is quarantined and unpinned. Both may be one name, with different bytes."""
        past = tuple(name for name in self.lineage if name not in (left, to))
        refusals = {name: known for name, known in self.refusals.items() if name != to} | {left: refusal}
        return msgspec.structs.replace(
            self,
            lineage=(*past, to),
            generation=generation,
            refusals=refusals,
            pinned=None,
            live_sha256=content_sha256,
        )

    def with_pin(self, version: str | None) -> Decisions:
        return msgspec.structs.replace(self, pinned=version)


_decoder = msgspec.json.Decoder(Decisions)


class DecisionStore:
    """Keeps Decisions in a file. `current` may be read from any thread; `save` and `retry` belong to the reload worker.

    Raises StorageError for a damaged file, because decisions of the operator must not be forgotten silently. If the
    file is not readable by this user, `is_known` is False until it is, and nothing may go live.
    """

    def __init__(self, path: Path, *, part: Part | None = None) -> None:
        self._path = path
        self._part = part or Parts(hidden=(path.parent,)).of("decision-file")
        self._judge: str | None = None
        self._unsaved = False
        self.current = Decisions()
        self.is_known = False
        self._read()

    @property
    def is_settled(self) -> bool:
        """True if the file was read and holds the current decisions, so that `retry` has nothing to do."""
        return self.is_known and not self._unsaved

    def hold_against(self, mark: str) -> None:
        """See `Decisions.with_judge`. Applied as soon as the file is known."""
        self._judge = mark
        if self.is_known:
            self.save(self.current.with_judge(mark))

    def save(self, decisions: Decisions) -> None:
        """Makes the decisions current and durable. If the disk fails, they are current nevertheless."""
        if decisions == self.current:
            return
        self.current = decisions
        self._write()

    def retry(self) -> None:
        """Repeats the read or write that the disk refused."""
        if self._unsaved:
            self._write()
        elif not self.is_known:
            try:
                self._read()
            except StorageError as error:
                self._part.fail(error)
            if self._judge is not None:
                self.hold_against(self._judge)

    def _read(self) -> None:
        try:
            self.current = _load(self._path)
        except PermissionError as error:
            self._part.fail(f"{self._path.name} cannot be read ({error.strerror}): what is pinned is not known")
            return
        self.is_known = True
        self._part.recover()

    def _write(self) -> None:
        content = msgspec.json.format(msgspec.json.encode(self.current), indent=2) + b"\n"
        self._unsaved = True
        try:
            make_directories(self._path.parent)
            replace_file(self._path, content, mode=0o600)
        except OSError as error:
            self._part.fail(f"{self._path} cannot be written ({error.strerror})")
            return
        self._unsaved = False
        self._part.recover()


def _load(path: Path) -> Decisions:
    """Raises PermissionError if this user may not read the file."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            return _decoder.decode(file.read())
    except FileNotFoundError:
        return Decisions()
    except PermissionError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}). Check the permissions of state.dir.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{path}: is damaged ({error}). It holds pins and rejected models: repair it, or remove it to forget them."
        ) from None
