"""The series of a history that rules want, each with a number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np

from nordiq_watch.api.sources import Drop
from nordiq_watch.importing.raw_samples import RawSamples
from nordiq_watch.ingest.formats.given_labels import note_given
from nordiq_watch.ingest.formats.readings import Losses
from nordiq_watch.ingest.formats.server_names import Key
from nordiq_watch.ingest.formats.server_series import MAX_SERIES_PER_SERVER, Place
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.records.arrays import BoolArray, DoubleArray, IntArray
from nordiq_watch.records.servers import GivenLabels


class KnownSeries:
    """most: that there may be at once. places: where each belongs, by its number. given: labels of servers by their
    series, by server.
    """

    def __init__(self, translator: Translator, *, most: int, given: Mapping[str, GivenLabels]) -> None:
        self.places: list[Place] = []
        self.given = dict(given)
        self._translator = translator
        self._most = most
        self._numbers: dict[tuple[str, Key], int] = {}
        self._servers: Counter[str] = Counter()
        self._refused = 0

    def number(self, raw: RawSamples, losses: Losses) -> tuple[IntArray, DoubleArray, DoubleArray]:
        """Number of the series, time and value of each sample that one of them can have."""
        counted = zip(raw.labels, raw.counts.tolist(), strict=True)
        numbers = np.array([self._find(labels) if count else -1 for labels, count in counted], dtype=np.int64)
        if self._translator.names.kept_labels:
            self._note_given(raw, numbers)
        series = np.repeat(numbers, raw.counts)
        kept = series >= 0
        if not kept.all():
            series, raw = series[kept], raw.select(kept)
        lows = np.array([place.limits.low for place in self.places])
        highs = np.array([place.limits.high for place in self.places])
        good = np.isfinite(raw.values)
        if len(series):
            good &= (lows[series] <= raw.values) & (raw.values <= highs[series])
        if not good.all():
            self._note_faults(series[~good], raw.values[~good], losses)
            series, raw = series[good], raw.select(good)
        return series, raw.times, raw.values

    def counters(self) -> tuple[BoolArray, DoubleArray]:
        """Which series are counters, and what each can grow at most per second: (series,) each."""
        most = {roles: self._most_of(roles) for roles in {place.roles for place in self.places}}
        counters = np.array([place.limits.is_counter for place in self.places], dtype=np.bool_)
        return counters, np.array([most[place.roles] for place in self.places], dtype=np.float64)

    def keep(self, series: IntArray) -> IntArray:
        """Forgets all others. The numbers of these from now on."""
        kept, renumbered = np.unique(series, return_inverse=True)
        self.places = [self.places[number] for number in kept.tolist()]
        self._numbers = {(place.server, place.key): number for number, place in enumerate(self.places)}
        self._servers = Counter(place.server for place in self.places)
        return renumbered.astype(np.int64)

    def take_refused(self) -> int:
        """How many found no room since the call before."""
        refused, self._refused = self._refused, 0
        return refused

    def _note_given(self, raw: RawSamples, numbers: IntArray) -> None:
        ends = np.cumsum(raw.counts).tolist()
        for labels, number, end in zip(raw.labels, numbers.tolist(), ends, strict=True):
            if number >= 0:
                server, at = self.places[number].server, float(raw.times[end - 1])
                note_given(self.given, server, labels, self._translator.names.kept_labels, at=at)

    def _find(self, labels: Mapping[str, str]) -> int:
        """-1 for a series that is left out."""
        place = self._translator.find_place(labels)
        if place is None:
            return -1
        number = self._numbers.get((place.server, place.key))
        if number is None:
            if len(self.places) >= self._most or self._servers[place.server] >= MAX_SERIES_PER_SERVER:
                self._refused += 1
                return -1
            number = self._numbers[place.server, place.key] = len(self.places)
            self.places.append(place)
            self._servers[place.server] += 1
        return number

    def _most_of(self, roles: int) -> float:
        """By the first rule that wants its growth."""
        found = (
            rule.limits.most_per_second
            for rule in self._translator.rules
            if rule.rule.rate and roles & (rule.value_role | rule.of_role)
        )
        most = next(found, None)
        return math.inf if most is None else most

    def _note_faults(self, series: IntArray, values: DoubleArray, losses: Losses) -> None:
        for number, value in zip(series.tolist(), values.tolist(), strict=True):
            place = self.places[number]
            fault = place.limits.fault_of(value) or Drop.NOT_A_NUMBER
            losses.add(fault, f"a series of {place.server} is {value:g}")
