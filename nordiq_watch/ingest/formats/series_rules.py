"""How a metric of a slot is computed from the series of one server: the rules of a mapping.

What a slot is allowed to say while not all of its series are known:
- A sum is not given while a series is missing that lasts: one with more than one sample, the newest before the slot no
  older than the gap, that did not end and is still heard; and that was seen in three quarters of the eight slots before
  the one in question, of those in which the server was heard. So a series that comes now and then holds nothing up.
- A share is given of those parts (processors, say) of which both sides are known whole: a part is left out of both
  while one of its series has no value in the slot although it was seen there, or shortly before, and did not end.
- Where no part is whole, a share is given of the others once nothing that lasts is missing.
- A part of whose total nothing is known but the share's own series does not count: a processor of which only the user
  time is known is not busy all the time.
- Of shares and percentages, whose whole is known, what was not sent is there all the same. Where the states of a
  processor that are counted make too little of its time, rules for the same metric that know all of it go first.
- Once the lateness of the slot is over, nothing is missing any more: a sum is given of what there is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol, TypeAlias

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.ingest.fields import Range
from nordiq_watch.ingest.formats.limits import Limits
from nordiq_watch.ingest.formats.series import NAME, Selector, parse_selector
from nordiq_watch.ingest.formats.series_view import SeriesView
from nordiq_watch.ingest.formats.server_names import Key, ServerNames
from nordiq_watch.ingest.formats.shares import Share, Side, knows_whole, missing_from
from nordiq_watch.ingest.formats.tracks import Grid

Part = tuple[tuple[str, ...], Key]
"""What a share's sides have in common, such as one processor: names of labels, and a digest of their values."""

WHOLE: Part = ((), b"")
"""The one part of a sum."""

_RECENT_SLOTS, _LASTING_SHARE = 8, 0.75
"""A series lasts that was seen in this share of this number of slots."""

_OLDEST_TIME = 946_684_800.0
"""The year 2000: a host that says it booted before does not know when, as one without a clock that says 0."""

_FUTURE_AGE_SECONDS = 60.0
"""Clocks of hosts differ: what began so little in the future began now."""


@dataclass(frozen=True, slots=True)
class MetricRule:
    """value_role and of_role: bits in the roles of a series. limits: of the series that it selects by `value`.

    own_labels: those by which the selectors choose, which therefore tell no parts apart.
    """

    number: int
    metric: str
    rule: SeriesRule
    value: Selector
    of: Selector | None
    value_role: int
    of_role: int
    own_labels: frozenset[str]
    limits: Limits
    aggregate: str


@dataclass(slots=True)
class Members:
    """The series of one part, on both sides of a share."""

    values: list[SeriesView] = field(default_factory=list)
    wholes: list[SeriesView] = field(default_factory=list)


class Slot(Protocol):
    """One slot of one server, as rules see it."""

    @property
    def number(self) -> int: ...

    @property
    def newest(self) -> float:
        """The newest moment that was heard of it."""
        ...


class Server(Protocol):
    """One server, as rules see it."""

    @property
    def heard(self) -> float:
        """The newest moment that was heard of it."""
        ...

    def parts(self, rule: MetricRule) -> Mapping[Part, Members]: ...

    def heard_before(self, slot: int, count: int) -> int:
        """A bit for each of `count` slots before one in which there was a sample, from the newest backwards."""
        ...


@dataclass(slots=True)
class Evaluation:
    """Evaluates rules for one slot of one server. final: nothing more is waited for. odd: samples left out so far."""

    grid: Grid
    server: Server
    slot: Slot
    final: bool
    odd: int = 0
    is_in_part: bool = False
    _heard: int | None = None

    def value_of(self, rule: MetricRule) -> tuple[float | None, bool]:
        """The metric's value, None if there is none; and whether a series is waited for that may change it. Afterwards
        `is_in_part` says whether it is a share of a whole of which some was not sent.
        """
        self.is_in_part = False
        parts = self.server.parts(rule)
        if rule.of is None:
            value, waits = self._sum(rule, parts.values())
        else:
            value, waits = self._share(rule, parts)
        if value is not None:
            value = (100 - value if rule.rule.complement else value) * rule.rule.scale
        return value, waits

    def _sum(self, rule: MetricRule, parts: Iterable[Members]) -> tuple[float | None, bool]:
        side = self._collect(rule, [track for part in parts for track in part.values])
        if not side.found or (side.waits and not self.final):
            return None, side.waits
        return math.fsum(side.found), side.waits

    def _share(self, rule: MetricRule, parts: Mapping[Part, Members]) -> tuple[float | None, bool]:
        if not _are_alike(parts):
            return self._share_of_sums(rule, parts)
        complete, incomplete = Share(), Share()
        waits = False
        for part in parts.values():
            value, whole = self._collect(rule, part.values), self._collect(rule, part.wholes)
            waits |= value.waits or whole.waits
            if value.found and (knows_whole(rule.rule) or self._has_total(rule, part)):
                missing = missing_from(rule.rule, whole.found)
                self.is_in_part |= missing > 0 and not knows_whole(rule.rule)
                whole.found += [missing] if knows_whole(rule.rule) else []
                (complete if value.is_whole and whole.is_whole else incomplete).add(value, whole)
        chosen = complete if complete.values or (waits and not self.final) else incomplete
        return chosen.percentage(), waits

    def _has_total(self, rule: MetricRule, part: Members) -> bool:
        return any(track not in part.values and self._read(rule, track) is not None for track in part.wholes)

    def _share_of_sums(self, rule: MetricRule, parts: Mapping[Part, Members]) -> tuple[float | None, bool]:
        """Where the sides have no labels in common: a total without the label that tells its parts apart."""
        value = self._collect(rule, [track for part in parts.values() for track in part.values])
        whole = self._collect(rule, [track for part in parts.values() for track in part.wholes])
        waits = value.waits or whole.waits
        return (None if waits and not self.final else Share(value.found, whole.found).percentage()), waits

    def _collect(self, rule: MetricRule, tracks: Iterable[SeriesView]) -> Side:
        """What these series say."""
        side = Side()
        for track in tracks:
            value = self._read(rule, track)
            if value is not None:
                side.found.append(value)
            elif not side.waits:
                self._note_absent(track, side)
        return side

    def _read(self, rule: MetricRule, track: SeriesView) -> float | None:
        if rule.rule.rate:
            value, odd = track.rate(self.slot.number, self.grid, rule.limits.most_per_second)
            self.odd += odd
            return value
        if rule.rule.age:
            return track.age(self.slot.number, rule.aggregate)
        return track.level(self.slot.number, rule.aggregate)

    def _note_absent(self, track: SeriesView, side: Side) -> None:
        """A series has no value in the slot."""
        number = self.slot.number
        values = track.values_in(number)
        if values is not None:
            side.is_whole &= all(map(math.isnan, values))
            return
        before = track.last_before(float(number * self.grid.interval_seconds), self.grid, number)
        if before is not None and not math.isnan(before[1]):
            side.is_whole = False
            side.waits = self._is_missing(track, since=before[0])

    def _is_missing(self, track: SeriesView, *, since: float) -> bool:
        """Whether a series that is not in the slot lasts. since: when it was seen last before."""
        number, gap = self.slot.number, self.grid.gap_seconds
        if not track.lasting or self.server.heard - track.last > gap or self.slot.newest - since > gap:
            return False
        if self._heard is None:
            self._heard = self.server.heard_before(number, _RECENT_SLOTS)
        seen = (track.seen_before(number, _RECENT_SLOTS) & self._heard).bit_count()
        return seen >= _LASTING_SHARE * self._heard.bit_count()


RuleTable: TypeAlias = "Mapping[str, SeriesRule | Sequence[SeriesRule] | None]"
"""Metric → its rule, or several of which the first that has an answer counts; None for a metric that has none."""


def list_rules(table: RuleTable, metrics: Sequence[str]) -> list[tuple[str, SeriesRule]]:
    """The rules for these metrics."""
    listed = ((metric, [rules] if isinstance(rules, SeriesRule) else rules or ()) for metric, rules in table.items())
    return [(metric, rule) for metric, rules in listed if metric in metrics for rule in rules]


def build_rule(number: int, metric: str, rule: SeriesRule, section: str, *, aggregate: str = "mean") -> MetricRule:
    """aggregate: what the metric of a slot is of a gauge's samples, mean, last or max."""
    try:
        value, of = parse_selector(rule.value), parse_selector(rule.of) if rule.of else None
    except ConfigError as error:
        raise ConfigError(f"{section}.metrics.{metric}: {error}") from None
    selectors = [value] if of is None else [value, of]
    return MetricRule(
        number=number,
        metric=metric,
        rule=rule,
        value=value,
        of=of,
        value_role=1 << 2 * number,
        of_role=2 << 2 * number,
        own_labels=frozenset({NAME, *(one.label for selector in selectors for one in selector.matchers)}),
        limits=_limits_of(metric, rule),
        aggregate="min" if aggregate == "max" and (rule.complement or rule.scale < 0) else aggregate,
    )


def build_rules(
    wanted: Sequence[tuple[str, SeriesRule]], section: str, aggregates: Mapping[str, str]
) -> list[MetricRule]:
    """Those that `list_rules` lists, each with its number. ConfigError."""
    return [
        build_rule(number, metric, rule, section, aggregate=aggregates.get(metric, "mean"))
        for number, (metric, rule) in enumerate(wanted)
    ]


def digest_rules(rules: Sequence[MetricRule], names: ServerNames, grid: Grid) -> str:
    """The same for two translators that make the same of a series."""
    text = repr([(rule.metric, rule.rule, rule.aggregate) for rule in rules]) + names.describe() + repr(grid)
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def roles_in(rule: MetricRule, *, labels: Mapping[str, str]) -> int:
    """What a series with these labels is in a rule."""
    value = rule.value_role if rule.value.matches(labels) else 0
    return value | (rule.of_role if rule.of is not None and rule.of.matches(labels) else 0)


def _limits_of(metric: str, rule: SeriesRule) -> Limits:
    if rule.rate or rule.of is not None:
        return Limits(low=0.0, most_per_second=rule.max_per_second if rule.rate else None, is_counter=rule.rate)
    if rule.age:
        return Limits(low=_OLDEST_TIME)
    if not rule.scale:
        return Limits()
    bounds = Range.of(metric)
    ends = [end / rule.scale for end in (bounds.accepted_low, bounds.accepted_high)]
    low, high = sorted(100 - end for end in ends) if rule.complement else sorted(ends)
    return Limits(low, high)


def keep_in_range(rule: MetricRule, value: float) -> tuple[float | None, bool]:
    """The value that the metric has, None for one that it cannot have; and whether it was clipped to the nearest one.

    Sensors and differences of counters are a little off both ends of a percentage.
    """
    bounds = Range.of(rule.metric)
    least = -_FUTURE_AGE_SECONDS * abs(rule.rule.scale) if rule.rule.age else bounds.accepted_low
    if not least - 1e-6 <= value <= bounds.accepted_high:
        return None, False
    kept = min(max(value, bounds.low), bounds.high)
    return kept, abs(kept - value) > 1e-6


def _are_alike(parts: Mapping[Part, Members]) -> bool:
    """Whether the sides of a share have the same labels beside those that their selectors choose by."""
    if any(part.values and part.wholes for part in parts.values()):
        return True
    values = {names for (names, _), part in parts.items() if part.values}
    return not values.isdisjoint(names for (names, _), part in parts.items() if part.wholes)
