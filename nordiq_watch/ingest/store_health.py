"""Whether journal and archive work, and when what failed is tried again."""

from __future__ import annotations

from collections.abc import Callable

from nordiq_watch.errors import StorageError
from nordiq_watch.parts import Part, PartStatus

RETRY_SECONDS = 5.0


class StoreHealth:
    """For one thread. Of the parts `journal` and `archive`: what fails, and a pause before it is tried again."""

    def __init__(self, journal: Part, archive: Part, *, clock: Callable[[], float]) -> None:
        self.journal = journal
        self.archive = archive
        self._clock = clock
        self._retry_at = 0.0

    @property
    def troubles(self) -> tuple[PartStatus, ...]:
        """What does not work at this moment: journal, archive, both or neither."""
        return tuple(part.status for part in (self.journal, self.archive) if not part.works)

    @property
    def is_too_soon(self) -> bool:
        """Whether something failed a moment ago. A clock that was set back does not make the moment longer."""
        return bool(self.troubles) and 0 < self._retry_at - self._clock() <= RETRY_SECONDS

    @property
    def archive_waits(self) -> bool:
        """Whether the archive failed a moment ago."""
        return not self.archive.works and self.is_too_soon

    def attempt(self, part: Part, act: Callable[[], None]) -> bool:
        """Whether it worked. A StorageError is noted, and said in the log by the part."""
        try:
            act()
        except StorageError as error:
            self.note(part, error)
            return False
        part.recover()
        return True

    def note(self, part: Part, error: StorageError) -> None:
        part.fail(error)
        error.shown = part.describe(error)
        self._retry_at = self._clock() + RETRY_SECONDS

    def refusal(self) -> StorageError:
        """For a batch that is refused because of what failed a moment ago."""
        part = next(part for part in (self.journal, self.archive) if not part.works)
        error = StorageError(part.status.reason)
        error.shown = part.describe(error)
        return error
