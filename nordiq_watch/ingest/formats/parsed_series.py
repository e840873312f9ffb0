"""Series of a protobuf message: bounded and judged first, and described one at a time afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.series import MAX_LABELS, Series, SeriesBatch
from nordiq_watch.json_lists.lenient import too_many

_MEAN_LABELS = 20
_MILLISECONDS = 1000


class UnreadableSeries(Exception):
    """One series that costs itself; the message says why, `cause` is the reason as it is counted."""

    def __init__(self, reason: str, cause: Drop = Drop.INVALID) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class ParsedSeries:
    """The series of one body, with the fields `samples` and `histograms`.

    parse: makes them, anew in each call. count_labels: of one of them. read_labels: may raise UnreadableSeries.
    """

    parse: Callable[[], Iterator[Any]]
    count_labels: Callable[[Any], int]
    read_labels: Callable[[Any], Mapping[str, str]]

    def judge(self, *, most: int) -> SeriesBatch:
        """What can be read; the rest is counted as passed over.

        TooManyRecords if there are more than `most` samples, or labels in proportion.
        """
        all_samples = all_labels = samples = 0
        causes: Counter[Drop] = Counter()
        reason = ""
        for series in self.parse():
            all_samples, all_labels = all_samples + len(series.samples), all_labels + self.count_labels(series)
            if all_samples > most:
                raise too_many("samples", most)
            if all_labels > _MEAN_LABELS * most:
                raise too_many(f"series with {_MEAN_LABELS} labels each", most)
            try:
                self._describe(series)
                samples += len(series.samples)
            except UnreadableSeries as why:
                causes[why.cause] += 1
                reason = reason or str(why)
        return SeriesBatch(self._describe_all(), causes, reason, samples=samples)

    def _describe_all(self) -> Iterator[Series]:
        for series in self.parse():
            try:
                labels = self._describe(series)
            except UnreadableSeries:
                continue
            yield Series(labels, sorted((sample.timestamp / _MILLISECONDS, sample.value) for sample in series.samples))

    def _describe(self, series: Any) -> Mapping[str, str]:
        """The labels of a series that can be read."""
        count = self.count_labels(series)
        if count > MAX_LABELS:
            raise UnreadableSeries(f"a series has {count} labels; at most {MAX_LABELS} are taken", Drop.TOO_MANY_LABELS)
        if series.histograms and not series.samples:
            raise UnreadableSeries("a series has native histograms, which no rule reads", Drop.UNSUPPORTED)
        return self.read_labels(series)
