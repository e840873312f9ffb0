"""From a version on disk to the live model, stage by stage. Runs in the reload worker's thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from nordiq_watch.artifact.reader import ModelFiles
from nordiq_watch.errors import ModelRejected
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records import Forecasting, Version
from nordiq_watch.reload.attempt import Attempt, facts_of
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.loader import Loader, memory_errors
from nordiq_watch.reload.room import Room
from nordiq_watch.storage.decisions import Refusal

_FIRST_ANSWER_SECONDS = 30.0


class Unchanged(Exception):
    """The directory has other times but the very bytes that are live."""


class Answers(Protocol):
    """Who publishes what the live model says: the forecaster."""

    def offer(self, first: Forecasting | None) -> None:
        """The model that goes live next has made this forecast already."""

    def wake(self) -> None: ...

    def wait_for_generation(self, generation: int, timeout: float) -> bool:
        """Whether the model of this generation has answered in time."""


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a version is proven.

    named: a person named it. trusted_sha256: the content of the version that was live when the daemon stopped. Both
    need only be whole, finite and possible.
    """

    named: bool = False
    trusted_sha256: str | None = None


_STRANGER = Terms()


@dataclass(frozen=True, slots=True)
class Proven:
    """A servable that may go live, and its forecast of the live window, if there was one to make."""

    servable: Servable
    first: Forecasting | None = None

    @property
    def generation(self) -> int:
        return self.servable.identity.generation


class Promotion:
    """Proves candidates and swaps them in. A reload ends when the new model has answered once."""

    def __init__(
        self, loader: Loader, canary: Canary, live: Live, *, room: Room, answers: Answers, keep_previous: bool
    ) -> None:
        self._loader = loader
        self._canary = canary
        self._live = live
        self._room = room
        self._answers = answers
        self._keep_previous = keep_previous

    def prove(
        self,
        version: Version,
        attempt: Attempt,
        *,
        generation: int,
        known_bad: Refusal | None,
        terms: Terms = _STRANGER,
    ) -> Proven:
        """Reads, checks, builds and tries the version. Raises ModelRejected or Unchanged; nothing live was touched.

        known_bad: what it was refused for before, if that still holds.
        """
        with memory_errors(version.name):
            self._room.make_for(version, facts=facts_of(attempt.record))
            with attempt.stage("verified"):
                files = self._loader.read(version)
                self._compare(version, files.content_sha256, known_bad)
            named = terms.named or files.content_sha256 == terms.trusted_sha256
            try:
                return self._try(version, files, attempt, generation=generation, named=named)
            except ModelRejected as error:
                error.content_sha256 = files.content_sha256
                raise

    def _try(self, version: Version, files: ModelFiles, attempt: Attempt, *, generation: int, named: bool) -> Proven:
        with attempt.stage("loaded"):
            candidate = self._loader.build(version, files, generation=generation)
        with attempt.stage("canary"):
            return self._place(candidate, attempt, named=named)

    def _compare(self, version: Version, content_sha256: str, known_bad: Refusal | None) -> None:
        """Bytes that are live need no reload, and bytes that were bad under other times are bad still."""
        live = self._live.peek()
        if live is not None and live.name == version.name and live.content_sha256 == content_sha256:
            raise Unchanged
        if known_bad is not None and known_bad.content_sha256 == content_sha256:
            error = ModelRejected(
                version.name,
                check="memory",
                found=f"the same bytes were {known_bad.state} before ({known_bad.reason})",
                remedy="Name it in `nordiq-watch reload NAME` to load it all the same.",
            )
            error.content_sha256 = content_sha256
            raise error

    def _place(self, candidate: Servable, attempt: Attempt, *, named: bool) -> Proven:
        """In host memory first: what a broken model does to a GPU can end the whole process."""
        first = self._check(candidate, attempt, named=named)
        placed = self._room.place(candidate)
        if placed is candidate:
            return Proven(candidate, first)
        try:
            return Proven(placed, self._check(placed, attempt, named=named))
        except (ModelRejected, MemoryError) as error:
            failure = error.with_traceback(None)  # its frames hold the weights, where the live ones may need the room
            failure.__context__ = None
        del placed
        self._room.bring_back()
        raise failure

    def _check(self, candidate: Servable, attempt: Attempt, *, named: bool) -> Forecasting | None:
        return self._canary.check(candidate, against=self._live.peek(), named=named, remarks=attempt)

    def put_live(self, proven: Proven, attempt: Attempt, *, keep_previous: bool = True) -> Servable | None:
        """The swap, and the first answer. Returns the model that was live before."""
        with attempt.stage("live"):
            self._answers.offer(proven.first)
            replaced = self._live.swap(proven.servable, keep_previous=keep_previous and self._keep_previous)
            self._answers.wake()
            self._answers.wait_for_generation(proven.generation, _FIRST_ANSWER_SECONDS)
        return replaced

    def bring_back(self) -> None:
        """After a rollback: the version before may have waited in host memory, and answers from there so far."""
        self._room.bring_back()

    @staticmethod
    def revive(servable: Servable, generation: int) -> Proven:
        """A servable that is still in memory, ready to go live again under a new generation."""
        return Proven(replace(servable, identity=replace(servable.identity, generation=generation)))
