"""Raw samples of the past become slots, part by part: the last word of a translator of the feed on each slot, at once.

A translator takes samples one by one, says a slot anew whenever more is known, and waits for what may come. Of the past
everything is known: each slot is evaluated once, by the same rules, when all samples before its end are there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import Config
from nordiq_watch.importing.history_series import HistorySeries
from nordiq_watch.importing.history_translator import Slots, build_history_translator
from nordiq_watch.importing.known_series import KnownSeries
from nordiq_watch.importing.notes import Notes
from nordiq_watch.importing.raw_samples import RawSamples
from nordiq_watch.importing.sample_table import Growth, SampleTable, make_table, measure_growth
from nordiq_watch.ingest.clusters import Clusters
from nordiq_watch.ingest.formats.build import Feeder
from nordiq_watch.ingest.formats.memberships import Memberships
from nordiq_watch.ingest.formats.readings import Losses, Said
from nordiq_watch.ingest.formats.series_rules import Evaluation, Members, MetricRule, Part, RuleTable
from nordiq_watch.ingest.formats.slot_values import values_of
from nordiq_watch.ingest.formats.tracks import CONTEXT
from nordiq_watch.names import find_fault
from nordiq_watch.records.arrays import DoubleArray, IntArray
from nordiq_watch.records.servers import GivenLabels

_KEPT_GAPS = 4
"""For as many gaps the last samples of a series are kept, for its next part."""


@dataclass(frozen=True, slots=True)
class _Slot:
    number: int
    newest: float


@dataclass(frozen=True, slots=True)
class _Server:
    """heard: nothing is waited for, so that it makes no difference."""

    memberships: Memberships
    heard: float = math.inf

    def parts(self, rule: MetricRule) -> Mapping[Part, Members]:
        return self.memberships.of(rule.number)

    def heard_before(self, slot: int, count: int) -> int:
        return 0


class HistorySlots:
    """For parts of a history in the order of time. rules: of all metrics. notes: what was left out so far."""

    def __init__(
        self,
        config: Config,
        section: str,
        feeder: Feeder,
        mapping: RuleTable,
        *,
        clusters: Clusters,
        notes: Mapping[str, tuple[int, str]] | None = None,
        given: Mapping[str, GivenLabels] | None = None,
    ) -> None:
        """section: of `feeders`. notes, given: of the parts before. ConfigError for a rule that cannot be read."""
        self.notes = Notes(notes)
        self._translator = build_history_translator(
            config, section, feeder, mapping, clusters=clusters, clock=lambda: 0.0
        )
        self.rules, self._grid = self._translator.rules, self._translator.grid
        self._known = KnownSeries(self._translator, most=config.feeders.max_series, given=given or {})
        self._kept: tuple[IntArray, DoubleArray, DoubleArray] = _nothing()

    @property
    def given(self) -> Mapping[str, GivenLabels]:
        """Labels of servers that their series had so far, by server."""
        return self._known.given

    def knows(self, name: str) -> bool:
        """Whether a rule may want series of this name."""
        return self._translator.knows(name)

    def take(self, found: Iterable[RawSamples], *, first: int, until: int) -> Slots:
        """The slots from `first` on and before `until`. found: all samples before the end of that part that were not
        taken before; those from before `first` are what growth starts from.
        """
        losses = Losses()
        parts = [self._kept, *(self._known.number(raw, losses) for raw in found)]
        series, times, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        table = make_table(self._grid, len(self._known.places), series, times, values)
        slots = self._evaluate(table, first, until, losses)
        self.notes.add_all(self._translator.names.take_left_out(), losses, refused=self._known.take_refused())
        self._keep_last(table, until)
        return slots

    def _evaluate(self, table: SampleTable, first: int, until: int, losses: Losses) -> Slots:
        growth = measure_growth(table, *self._known.counters(), first=first)
        self._note_growth(table, growth, losses)
        memberships: dict[str, Memberships] = {}
        numbers: dict[str, set[int]] = {}
        for number, place in enumerate(self._known.places):
            begin, end = table.starts[number], table.starts[number + 1]
            if begin < end:
                one = HistorySeries(table, growth, number)
                memberships.setdefault(place.server, Memberships()).add(one, place.roles, place.parts)
                numbers.setdefault(place.server, set()).update(table.cell_slots[begin:end].tolist())
        said, slots = Said(losses=losses), Slots()
        for server, of in memberships.items():
            opened = sorted(slot for slot in numbers[server] if first <= slot < until)
            if opened and (fault := find_fault(server)) is not None:
                self.notes.add(f"name {server}", len(opened), f"server_name {fault}")
                continue
            for slot, values in self._values_of(server, of, opened, said):
                slots[server, slot] = values
        return slots

    def _values_of(
        self, server: str, of: Memberships, slots: Iterable[int], said: Said
    ) -> Iterator[tuple[int, dict[str, float]]]:
        view, rules = _Server(of), [rule for rule in self.rules if of.of(rule.number)]
        for slot in slots:
            end = float((slot + 1) * self._grid.interval_seconds)
            evaluation = Evaluation(self._grid, view, _Slot(slot, end), final=True)
            found = values_of(rules, evaluation, said, name=server)
            values = {rule.metric: value for rule, value, _ in found if value is not None}
            if values:
                yield slot, values

    def _note_growth(self, table: SampleTable, growth: Growth, losses: Losses) -> None:
        for cell, count in growth.odd.items():
            name = self._known.places[table.cell_series[cell]].server
            losses.add(Drop.ODD_GROWTH, f"a counter of {name} jumped further than it can grow", count)
        if len(growth.sparse):
            row, gap = int(growth.sparse[0]), self._grid.gap_seconds
            name, apart = self._known.places[table.series[row]].server, table.times[row] - table.times[row - 1]
            why = f"a rate needs two that are at most {gap:.0f} s apart"
            losses.add(
                Drop.TOO_SPARSE, f"a counter of {name} has samples {apart:.0f} s apart; {why}", len(growth.sparse)
            )

    def _keep_last(self, table: SampleTable, until: int) -> None:
        """What the growth of the next part starts from."""
        ends = table.cell_starts[table.starts[1:]]
        since = until * self._grid.interval_seconds - _KEPT_GAPS * self._grid.gap_seconds
        left = ends[table.series] - np.arange(len(table.series))
        kept = (left <= CONTEXT) & (table.times >= since)
        self._kept = self._known.keep(table.series[kept]), table.times[kept], table.values[kept]


def _nothing() -> tuple[IntArray, DoubleArray, DoubleArray]:
    return np.empty(0, np.int64), np.empty(0), np.empty(0)
