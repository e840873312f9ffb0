"""Finds where a series belongs: to which server, to which rules. Most series belong to none, which must cost little."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from hashlib import blake2b
from typing import Final

from nordiq_watch.ingest.formats.limits import Limits
from nordiq_watch.ingest.formats.series import NAME, Selector
from nordiq_watch.ingest.formats.series_rules import WHOLE, MetricRule, Part, roles_in
from nordiq_watch.ingest.formats.server_names import ServerNames
from nordiq_watch.ingest.formats.server_series import Place

MOST_REMEMBERED: Final = 1 << 18

_DIGEST_BYTES = 16

UNKNOWN: Final = Place("", b"", 0, (), Limits())
"""Of a series that no rule wants."""


class Places:
    """For one thread at a time. What it finds is remembered, at most MOST_REMEMBERED sets of labels; those that are
    not looked for between two calls of `forget_unused` are forgotten.
    """

    def __init__(self, rules: Sequence[MetricRule], names: ServerNames) -> None:
        self._rules = rules
        self._names = names
        self._remembered: dict[bytes, Place] = {}
        self._before: dict[bytes, Place] = {}
        self._by_name: dict[str, tuple[MetricRule, ...]] = {}
        self._parts: dict[tuple[tuple[int, Part], ...], tuple[tuple[int, Part], ...]] = {}
        self._limits: dict[int, Limits] = {}

    def forget_unused(self) -> None:
        self._before, self._remembered = self._remembered, {}
        self._parts.clear()

    def forget(self) -> None:
        """Servers have other names from now on."""
        self._remembered.clear()
        self._before.clear()

    def find(self, labels: Mapping[str, str]) -> Place | None:
        """UNKNOWN if no rule wants the series; None if nothing names its server."""
        rules = self.rules_for(labels.get(NAME, ""))
        if not rules:
            return UNKNOWN
        known = blake2b(repr(labels.items()).encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        for remembered in (self._remembered, self._before):
            if known in remembered:
                self._remembered[known] = remembered[known]
                return remembered[known]
        roles = sum(roles_in(rule, labels=labels) for rule in rules)
        place = self._build(labels, roles, rules) if roles else UNKNOWN
        if place is not None:  # one without a name is counted each time
            if len(self._remembered) >= MOST_REMEMBERED:
                self.forget_unused()
            self._remembered[known] = place
        return place

    def limits_of(self, roles: int) -> Limits:
        """Those of a series with these roles, in all of its rules."""
        if roles not in self._limits:
            own = [rule.limits for rule in self._rules if roles & (rule.value_role | rule.of_role)]
            self._limits[roles] = reduce(Limits.narrowed, own)
        return self._limits[roles]

    def rules_for(self, name: str) -> tuple[MetricRule, ...]:
        """Those whose selectors a series of this name may match. From any thread."""
        found = self._by_name.get(name)
        if found is None:
            if len(self._by_name) >= MOST_REMEMBERED:
                self._by_name.clear()
            found = tuple(rule for rule in self._rules if selectors_for(rule, name))
            self._by_name[name] = found
        return found

    def _build(self, labels: Mapping[str, str], roles: int, rules: Sequence[MetricRule]) -> Place | None:
        identity = self._names.identify(labels)
        if identity is None:
            return None
        own = [rule for rule in rules if roles & (rule.value_role | rule.of_role)]
        parts: dict[frozenset[str], Part] = {}
        for rule in own:
            if rule.of is not None and rule.own_labels not in parts:
                parts[rule.own_labels] = self._part_of(labels, rule.own_labels)
        found = tuple((rule.number, WHOLE if rule.of is None else parts[rule.own_labels]) for rule in own)
        shared = self._parts.setdefault(found, found)  # by all modes of a processor
        return Place(sys.intern(identity.server), identity.key, roles, shared, self.limits_of(roles))

    def _part_of(self, labels: Mapping[str, str], own_labels: frozenset[str]) -> Part:
        return self._names.part_of({label: value for label, value in labels.items() if label not in own_labels})


def selectors_for(rule: MetricRule, name: str) -> list[Selector]:
    """Those of a rule that a series of this name may match."""
    return [
        selector
        for selector in ([rule.value] if rule.of is None else [rule.value, rule.of])
        if all(matcher.matches({NAME: name}) for matcher in selector.matchers if matcher.label == NAME)
    ]
