"""Series of a protobuf message: bounded and judged first, and described one at a time afterwards."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.series import MAX_LABELS, NAME, Series, SeriesBatch
from nordiq_watch.json_lists.lenient import too_many

_MEAN_LABELS = 20
_MILLISECONDS = 1000
_ANY_SAMPLE = (0.0, 0.0)


class UnreadableSeries(Exception):
    """One series that costs itself; the message says why, `cause` is the reason as it is counted."""

    def __init__(self, reason: str, cause: Drop = Drop.INVALID) -> None:
        super().__init__(reason)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class ParsedSeries:
    """The series of one body, with the fields `samples` and `histograms`.

    parse: makes them, some at a time, anew in each call. count_labels: of one of them. read_labels: may raise
    UnreadableSeries. read_name: of one whose name is among the first labels; None for others. knows: whether a rule may
    want series of a name; of others nothing but the name is read, which is most of what exporters send.
    """

    parse: Callable[[], Iterator[Sequence[Any]]]
    count_labels: Callable[[Any], int]
    read_labels: Callable[[Any], Mapping[str, str]]
    read_name: Callable[[Any], bytes | str | None]
    knows: Callable[[str], bool]

    def judge(self, *, most: int) -> SeriesBatch:
        """What can be read; the rest is counted as passed over.

        TooManyRecords if there are more than `most` samples, or labels in proportion.
        """
        tally, unknown = _Tally(most), _UnknownNames(self.knows)
        readable: list[Sequence[int]] = []
        samples = 0
        for some in self.parse():
            places = array("I")
            for place, series in enumerate(some):
                count = len(series.samples)
                tally.hold(samples=count, labels=self.count_labels(series))
                if count and unknown.note(self.read_name(series)):
                    samples += count
                elif tally.passes(self._describe, series):
                    samples += count
                    places.append(place)
            readable.append(places)
        described = chain(unknown.stand_ins(), self._describe_all(readable))
        return SeriesBatch(described, tally.causes, tally.reason, samples=samples)

    def _describe_all(self, readable: Iterable[Sequence[int]]) -> Iterator[Series]:
        for some, places in zip(self.parse(), readable, strict=True):
            for place in places:
                series = some[place]
                yield Series(
                    self._describe(series),
                    sorted((sample.timestamp / _MILLISECONDS, sample.value) for sample in series.samples),
                )

    def _describe(self, series: Any) -> Mapping[str, str]:
        """The labels of a series that can be read."""
        count = self.count_labels(series)
        if count > MAX_LABELS:
            raise UnreadableSeries(f"a series has {count} labels; at most {MAX_LABELS} are taken", Drop.TOO_MANY_LABELS)
        if series.histograms and not series.samples:
            raise UnreadableSeries("a series has native histograms, which no rule reads", Drop.UNSUPPORTED)
        return self.read_labels(series)


@dataclass(slots=True)
class _Tally:
    """Bounds what one body may hold, and counts what of it is not read. most: samples, and labels in proportion."""

    most: int
    causes: Counter[Drop] = field(default_factory=Counter)
    reason: str = ""
    _samples: int = 0
    _labels: int = 0

    def hold(self, *, samples: int, labels: int) -> None:
        self._samples += samples
        self._labels += labels
        if self._samples > self.most:
            raise too_many("samples", self.most)
        if self._labels > _MEAN_LABELS * self.most:
            raise too_many(f"series with {_MEAN_LABELS} labels each", self.most)

    def passes(self, check: Callable[[Any], object], series: Any) -> bool:
        """Whether the series can be read."""
        try:
            check(series)
        except UnreadableSeries as why:
            self.causes[why.cause] += 1
            self.reason = self.reason or str(why)
            return False
        return True


class _UnknownNames:
    """Counts series of which nothing but the name is read, in one body."""

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self._knows = knows
        self._counts: dict[bytes | str | None, int] = {None: -1}

    def note(self, name: bytes | str | None) -> bool:
        """False for a name that a rule may want, or that cannot be read."""
        count = self._counts.get(name)
        if count is None:
            count = self._counts[name] = 0 if self._is_unknown(name) else -1
        if count < 0:
            return False
        self._counts[name] = count + 1
        return True

    def stand_ins(self) -> Iterator[Series]:
        """One series for each that was noted, with its name alone."""
        for name, count in self._counts.items():
            if name is not None and count > 0:
                yield from repeat(Series({NAME: _decode(name)}, [_ANY_SAMPLE]), count)

    def _is_unknown(self, name: bytes | str | None) -> bool:
        try:
            return name is not None and not self._knows(_decode(name))
        except UnicodeDecodeError:
            return False


def _decode(name: bytes | str) -> str:
    return name if isinstance(name, str) else name.decode()
