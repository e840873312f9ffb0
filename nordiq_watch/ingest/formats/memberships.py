"""Which series of a server belong to which part of which rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from nordiq_watch.ingest.formats.series_rules import Members, Part
from nordiq_watch.ingest.formats.series_view import SeriesView


class Memberships:
    """For one thread at a time. Of a series, `roles` has one bit per place in a rule, `parts` the part by rule."""

    def __init__(self) -> None:
        self._by_rule: dict[int, dict[Part, Members]] = {}

    def of(self, rule: int) -> Mapping[Part, Members]:
        """rule: its number."""
        return self._by_rule.get(rule, {})

    def add(self, track: SeriesView, roles: int, parts: Sequence[tuple[int, Part]]) -> None:
        for number, part in parts:
            members = self._by_rule.setdefault(number, {}).setdefault(part, Members())
            for side in _sides(members, number, roles):
                side.append(track)

    def remove(self, track: SeriesView, roles: int, parts: Sequence[tuple[int, Part]]) -> None:
        """One that was added with the same roles and parts."""
        for number, part in parts:
            members = self._by_rule[number][part]
            for side in _sides(members, number, roles):
                side.remove(track)
            if not members.values and not members.wholes:
                del self._by_rule[number][part]


def _sides(members: Members, number: int, roles: int) -> Iterator[list[SeriesView]]:
    if roles & 1 << 2 * number:
        yield members.values
    if roles & 2 << 2 * number:
        yield members.wholes
