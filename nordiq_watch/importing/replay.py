"""Series of the past go through a translator of the feed, with a clock that goes along, and become slots."""

from __future__ import annotations

from collections.abc import Iterable

from nordiq_watch.config.schema import Config
from nordiq_watch.importing.history_translator import ALL_SERVERS, Slots, build_history_translator
from nordiq_watch.importing.notes import Notes
from nordiq_watch.importing.series_labels import add_labels
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.build import Feeder
from nordiq_watch.ingest.formats.readings import Translation
from nordiq_watch.ingest.formats.series import Series
from nordiq_watch.ingest.formats.series_rules import RuleTable
from nordiq_watch.names import find_fault
from nordiq_watch.records.servers import GivenLabels

LONGEST_CHUNK_SECONDS = 3600

_LAST_CALLS = 50
_CLOSING_SECONDS = 6.0


class Replay:
    """For series chunk by chunk, in the order of time. notes: what was left out so far. given: labels of servers by
    their series, by server.
    """

    def __init__(self, config: Config, section: str, feeder: Feeder, mapping: RuleTable) -> None:
        """section: of `feeders`. ConfigError for a rule that cannot be read."""
        self.notes = Notes()
        self.given: dict[str, GivenLabels] = {}
        self._lateness_seconds = config.window.lateness_seconds
        self._interval = config.window.interval_seconds
        self._now = 0.0
        self._slots: Slots = {}
        self._translator = build_history_translator(
            config,
            section,
            feeder,
            mapping,
            clusters=Clusters(None, most=ALL_SERVERS),
            clock=lambda: self._now,
        )

    def knows(self, name: str) -> bool:
        """Whether a rule may want series of this name."""
        return self._translator.knows(name)

    def take(self, series: Iterable[Series], *, begin: float) -> None:
        """All samples of a chunk that begins at `begin`, Unix time: the clock stands there, so that slots close once
        all samples up to there are taken.
        """
        self._now = begin
        self._keep(self._translator.translate(series))

    @property
    def over(self) -> int:
        """Of slots before this one nothing more will be said."""
        return int((self._now - self._lateness_seconds) // self._interval)

    def pop(self, until: int) -> Slots:
        """The slots before `until`."""
        over = {cell: values for cell, values in self._slots.items() if cell[1] < until}
        self._slots = {cell: values for cell, values in self._slots.items() if cell[1] >= until}
        return over

    def finish(self, end: float) -> None:
        """There is nothing after `end`, Unix time: the last word on each slot is said."""
        self._now = end + self._lateness_seconds + self._interval
        for _ in range(_LAST_CALLS + len(self._slots) // _LAST_CALLS):  # each closes some 200 slots
            self._now += _CLOSING_SECONDS
            self._keep(self._translator.say_due())

    def _keep(self, translation: Translation) -> None:
        for reading in translation.readings:
            if (fault := find_fault(reading.server)) is not None:
                self.notes.add(f"name {reading.server}", 1, f"server_name {fault}")
                continue
            slot = int(reading.timestamp // self._interval)
            self._slots.setdefault((reading.server, slot), {}).update(reading.values)
        add_labels(self.given, translation.labels)
        self._translator.settle(translation.readings, kept=True)
        self.notes.add_all(translation.left_out, translation.losses, refused=translation.refused)
