"""From a version on disk to the live model, stage by stage. Runs in the reload worker's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nordiq_watch.errors import ModelRejected
from nordiq_watch.live.published import Live
from nordiq_watch.live.servable import Servable
from nordiq_watch.records import Version
from nordiq_watch.reload.attempt import Attempt
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.loader import Loader
from nordiq_watch.storage.decisions import Refusal


class Unchanged(Exception):
    """The directory has other times but the very bytes that are live."""


class Promotion:
    """`first_answer(generation)` waits until the new model has answered once, so that a reload ends with an answer."""

    def __init__(
        self,
        loader: Loader,
        canary: Canary,
        live: Live,
        *,
        keep_previous: bool,
        first_answer: Callable[[int], bool],
    ) -> None:
        self._loader = loader
        self._canary = canary
        self._live = live
        self._keep_previous = keep_previous
        self._first_answer = first_answer

    def prove(self, version: Version, attempt: Attempt, *, generation: int, known_bad: Refusal | None) -> Servable:
        """Reads, checks, builds and tries the version. Raises ModelRejected or Unchanged; nothing live was touched."""
        with attempt.stage("verified"):
            files = self._loader.read(version)
            self._compare(version, files.content_sha256, known_bad)
        try:
            with attempt.stage("loaded"):
                candidate = self._loader.build(version, files, generation=generation)
            with attempt.stage("canary"):
                self._canary.check(candidate, against=self._live.peek())
        except ModelRejected as error:
            error.content_sha256 = files.content_sha256
            raise
        return candidate

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

    def put_live(self, candidate: Servable, attempt: Attempt, *, keep_previous: bool = True) -> Servable | None:
        """The swap, and the first answer. Returns the model that was live before."""
        with attempt.stage("live"):
            replaced = self._live.swap(candidate, keep_previous=keep_previous and self._keep_previous)
            self._first_answer(candidate.identity.generation)
        return replaced

    @staticmethod
    def revive(servable: Servable, generation: int) -> Servable:
        """A servable that is still in memory, ready to go live again under a new generation."""
        return replace(servable, identity=replace(servable.identity, generation=generation))
