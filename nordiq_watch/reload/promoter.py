"""Takes a version from disk to the live model, stage by stage. Runs in the reload worker's thread."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from nordiq_watch.api.enums import Check
from nordiq_watch.artifact.comparison import describe_errors
from nordiq_watch.artifact.reader import ModelFiles
from nordiq_watch.errors import ModelRejected
from nordiq_watch.live.published import Live, Serving
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import Version
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.loader import Loader, memory_errors
from nordiq_watch.reload.memory_guard import MemoryGuard
from nordiq_watch.reload.run import ReloadRun, facts_of
from nordiq_watch.storage.decisions import Refusal


class AnswerPublisher(Protocol):
    """Turns forecasts into answers; implemented by the forecaster."""

    def latest(self) -> Forecasting | None:
        """The newest served forecast, with its snapshot."""

    def prepare(self, candidate: Servable, tried: Forecasting | None) -> Serving:
        """The candidate with its answer for the whole fleet. If it raises, what is served stays as it is.

        tried: a forecast that the candidate has already made; if it covers the whole fleet, it is used.
        """

    def note_swap(self) -> None:
        """The result of the last `prepare` is live now."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Conditions under which a version is proven.

    named: an operator named it. trusted_sha256: content of the version that was live when the daemon stopped. Both need
    only be whole, finite and possible.
    """

    named: bool = False
    trusted_sha256: str | None = None


_UNNAMED = Terms()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A servable that may go live, with its first answer."""

    servable: Servable
    serving: Serving

    @property
    def generation(self) -> int:
        return self.servable.identity.generation


class Promoter:
    """Proves candidates and swaps them in, each together with its first answer."""

    def __init__(
        self,
        loader: Loader,
        canary: Canary,
        live: Live,
        *,
        memory_guard: MemoryGuard,
        answers: AnswerPublisher,
        keep_previous: bool,
    ) -> None:
        self._loader = loader
        self._canary = canary
        self._live = live
        self._memory_guard = memory_guard
        self._answers = answers
        self._keep_previous = keep_previous

    def prove(
        self,
        version: Version,
        run: ReloadRun,
        *,
        generation: int,
        known_bad: Refusal | None,
        terms: Terms = _UNNAMED,
    ) -> Candidate | None:
        """Reads, checks, builds and tries the version. Raises ModelRejected; nothing live was touched.

        None, without a recorded stage, if its directory has exactly the live content.

        known_bad: the reason it was refused before, if that still holds.
        """
        with memory_errors(version.name):
            self._memory_guard.make_for(version, facts=facts_of(run.record))
            pass_stage = run.begin_stage("verified")
            files = self._loader.read(version)
            if self._is_live(version, files.content_sha256):
                return None
            _refuse_known_bad(version, files.content_sha256, known_bad)
            pass_stage()
            named = terms.named or files.content_sha256 == terms.trusted_sha256
            try:
                return self._try(version, files, run, generation=generation, named=named)
            except ModelRejected as error:
                error.content_sha256 = files.content_sha256
                raise

    def _try(self, version: Version, files: ModelFiles, run: ReloadRun, *, generation: int, named: bool) -> Candidate:
        with run.stage("loaded"):
            candidate = self._loader.build(version, files, generation=generation)
        errors = describe_errors(files.info)
        if errors:
            run.remark(f"its error in validation was {errors}")
        with run.stage("canary"):
            return self._place(candidate, run, named=named)

    def _is_live(self, version: Version, content_sha256: str) -> bool:
        live = self._live.peek()
        return live is not None and live.name == version.name and live.content_sha256 == content_sha256

    def _place(self, candidate: Servable, run: ReloadRun, *, named: bool) -> Candidate:
        """Tries in host memory first: on a GPU, a broken model can end the whole process."""
        tried = self._check(candidate, run, named=named)
        placed = self._memory_guard.place(candidate)
        if placed is candidate:
            return self._prepare(candidate, tried)
        try:
            return self._prepare(placed, self._check(placed, run, named=named))
        except (ModelRejected, MemoryError) as error:
            failure = error.with_traceback(None)  # its frames hold the weights, where the live ones may need the room
            failure.__context__ = None
        del placed
        self._memory_guard.bring_back()
        raise failure

    def _check(self, candidate: Servable, run: ReloadRun, *, named: bool) -> Forecasting | None:
        return self._canary.check(candidate, against=self._live.peek(), named=named, remarks=run)

    def _prepare(self, candidate: Servable, tried: Forecasting | None) -> Candidate:
        return Candidate(candidate, self._answers.prepare(candidate, tried))

    def put_live(self, proven: Candidate, run: ReloadRun, *, keep_previous: bool = True) -> Servable | None:
        """The swap: model, generation and answer at once. Cannot fail. Returns the previously live model."""
        with run.stage("live"):
            replaced = self._live.swap(proven.serving, keep_previous=keep_previous and self._keep_previous)
            self._answers.note_swap()
        return replaced

    def bring_back(self) -> None:
        """After a rollback: moves the previous version back from host memory, from which it answers so far."""
        self._memory_guard.bring_back()

    def revive(self, servable: Servable, run: ReloadRun, *, generation: int) -> Candidate:
        """A servable still in memory, with a fresh answer, ready to go live under a new generation."""
        revived = replace(servable, identity=replace(servable.identity, generation=generation))
        with memory_errors(servable.name), run.stage("canary"):
            return self._prepare(revived, None)


def _refuse_known_bad(version: Version, content_sha256: str, known_bad: Refusal | None) -> None:
    """Raises for content that was refused under other file times."""
    if known_bad is not None and known_bad.content_sha256 == content_sha256:
        error = ModelRejected(
            version.name,
            check=Check.MEMORY,
            found=f"the same bytes were {known_bad.state} before ({known_bad.reason})",
            remedy="Name it in `nordiq-watch reload NAME` to load it all the same.",
        )
        error.content_sha256 = content_sha256
        raise error
