"""What was repaired in a dataset: counted while its rows are read, told in one line per kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nordiq_watch.metrics import SENSOR_OVERSHOOT_PCT, SENSOR_UNDERSHOOT_PCT, STATUSES, describe
from nordiq_watch.network.gaps import MAX_GAP_SLOTS
from nordiq_watch.training.row_pace import SlowRows

MANY_FILLED = 0.5
"""A dataset with a larger share of filled slots was measured at a longer interval than its slots have."""


@dataclass
class Repairs:
    """left_out: lines about files that were not read. guesses: lines about what columns were taken for. overshoots,
    undershoots, impossible: values per metric. unmeasured: metrics without a value. backwards, repeated, joined: rows.
    changing_profiles: servers. statuses: those that are not in the list. servers, pieces, slots: of the finished
    series; sampled: how many of these slots have a row.
    slow: servers whose rows come less often than the grid has slots. bad_labels: labels that no server can have;
    bad_label: what is wrong with the first. ignored_labels: names of labels that are read for nothing.
    """

    left_out: Sequence[str] = ()
    guesses: Sequence[str] = ()
    overshoots: Counter[str] = field(default_factory=Counter)
    undershoots: Counter[str] = field(default_factory=Counter)
    impossible: Counter[str] = field(default_factory=Counter)
    unmeasured: Sequence[str] = ()
    backwards: int = 0
    changing_profiles: int = 0
    repeated: int = 0
    joined: int = 0
    statuses: set[str] = field(default_factory=set)
    servers: int = 0
    pieces: int = 0
    slots: int = 0
    sampled: int = 0
    slow: SlowRows | None = None
    bad_labels: int = 0
    bad_label: str | None = None
    ignored_labels: Sequence[str] = ()

    @property
    def filled_share(self) -> float:
        """The share of slots without a row, which repeat the one before."""
        return max(0.0, 1.0 - self.sampled / self.slots) if self.slots else 0.0

    @property
    def sparse(self) -> str | None:
        """Why a model of this dataset would learn what was made up rather than what was measured; None if not so."""
        if self.slow and self.slow.is_rule and max(self.slow.empty_share, self.filled_share) > MANY_FILLED:
            return self.slow.describe()
        if self.filled_share > MANY_FILLED:
            return f"{self.filled_share:.0%} of the slots repeat the one before: samples are farther apart than slots"
        return None

    def describe(self, metrics: Sequence[str]) -> Iterator[str]:
        """The lines, those about values in the order of `metrics`."""
        yield from self.left_out
        yield from self.guesses
        yield from self.describe_values(metrics)
        if self.unmeasured:
            yield f"{', '.join(self.unmeasured)}: no values at all, left out"
        if self.backwards:
            yield f"{some(self.backwards, 'row')} before an older row of the same server: sorted by time"
        if self.changing_profiles:
            yield f"{some(self.changing_profiles, 'server')} with several profiles: the last one counts"
        if self.bad_labels:
            yield f"{some(self.bad_labels, 'label')} left out, e.g. {self.bad_label}"
        if self.ignored_labels:
            yield describe_ignored(self.ignored_labels)
        yield from self._describe_slots()
        if strange := sorted(self.statuses - {"", *STATUSES}):
            yield f"status: {', '.join(map(repr, strange[:5]))} not in the list, taken as unknown"
        if self.slow:
            yield self.slow.describe()
        elif self.sparse:
            yield self.sparse
        if self.pieces > self.servers:
            servers, pieces = some(self.servers, "server"), some(self.pieces, "piece")
            yield f"gaps of more than {MAX_GAP_SLOTS} slots: {servers} in {pieces}"

    def describe_values(self, metrics: Sequence[str]) -> Iterator[str]:
        """Of these lines those about values that a metric cannot have."""
        for metric in metrics:
            yield from self._describe_range(metric)

    def _describe_slots(self) -> Iterator[str]:
        if self.repeated:
            yield f"{some(self.repeated, 'row')} for a time that the server has already: the last value counts"
        if self.joined:
            rows = some(self.joined, "row")
            yield f"{rows} for a time slot that the server has already: window.aggregate says what a slot holds of them"

    def _describe_range(self, metric: str) -> Iterator[str]:
        if count := self.overshoots[metric]:
            yield f"{metric}: {some(count, 'value')} of 100 to {SENSOR_OVERSHOOT_PCT:.0f} % kept as 100"
        if count := self.undershoots[metric]:
            yield f"{metric}: {some(count, 'value')} of {SENSOR_UNDERSHOOT_PCT:.0f} to 0 % kept as 0"
        if count := self.impossible[metric]:
            limits = describe(metric)
            allowed = f"{limits.low:g} to {limits.high:g}"
            yield f"{metric}: {some(count, 'value')} outside {allowed} taken as not measured"


def describe_ignored(labels: Sequence[str]) -> str:
    """Of names of labels that a dataset gives to servers."""
    return f"labels are no input of a model, left out: {', '.join(labels)}"


def some(count: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2,500 rows`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
