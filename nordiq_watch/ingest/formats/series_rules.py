"""How a metric is computed from the series of one server: the rules of a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nordiq_watch.config.schema import SeriesRule
from nordiq_watch.errors import ConfigError
from nordiq_watch.ingest.formats.series import Selector, parse_selector
from nordiq_watch.ingest.formats.tracks import ServerTracks, Total

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class MetricRule:
    """value_role and of_role: bits in the roles of a series."""

    metric: str
    rule: SeriesRule
    value: Selector
    of: Selector | None
    value_role: int
    of_role: int


def evaluate_rule(
    rule: MetricRule, server: ServerTracks, at: float, totals: dict[tuple[int, bool], Total]
) -> float | None:
    """The metric's value at a moment; None while series of this moment are missing, or where the rule has no answer.

    totals: a cache of the groups' sums at this moment.
    """
    value = _sum_role(rule.value_role, server, at, totals, rate=rule.rule.rate)
    if value is None:
        return None
    if rule.of is not None:
        whole = _sum_role(rule.of_role, server, at, totals, rate=rule.rule.rate)
        if not whole:
            return None
        value = 100 * value / whole
    if rule.rule.complement:
        value = 100 - value
    if rule.rule.age:
        value = at - value
    value *= rule.rule.scale
    return 0.0 if -_ROUNDING < value < 0 else value


def _sum_role(
    role: int, server: ServerTracks, at: float, totals: dict[tuple[int, bool], Total], *, rate: bool
) -> float | None:
    """The sum over all series with this role; None if one of them has no sample of this moment, or there is none."""
    total, count = 0.0, 0
    for roles in server.groups:
        if not roles & role:
            continue
        if (roles, rate) not in totals:
            totals[roles, rate] = server.total(roles, at, rate=rate)
        part = totals[roles, rate]
        if part is None:
            return None
        total, count = total + part[0], count + part[1]
    return total if count else None


def build_rule(number: int, metric: str, rule: SeriesRule, section: str) -> MetricRule:
    roles = 1 << 2 * number, 2 << 2 * number
    try:
        return MetricRule(
            metric, rule, parse_selector(rule.value), parse_selector(rule.of) if rule.of else None, *roles
        )
    except ConfigError as error:
        raise ConfigError(f"{section}.metrics.{metric}: {error}") from None


def roles_in(rule: MetricRule, *, labels: Mapping[str, str]) -> int:
    """What a series with these labels is in a rule."""
    value = rule.value_role if rule.value.matches(labels) else 0
    return value | (rule.of_role if rule.of is not None and rule.of.matches(labels) else 0)
