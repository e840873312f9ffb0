"""The open slots of all servers: when each is opened, read and closed.

A slot is open until `lateness_seconds` after its end, or after its first sample came, whichever is later. What it is
worth is said anew whenever more is known of it, at its begin, so that the window replaces what was said before. What
was said in an answer that failed is said again. What other routes have said of it stays.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.owners import Route
from nordiq_watch.ingest.formats.readings import Reading, Said
from nordiq_watch.ingest.formats.series_rules import Evaluation, MetricRule
from nordiq_watch.ingest.formats.server_series import OpenSlot, ServerSeries
from nordiq_watch.ingest.formats.slot_values import values_of
from nordiq_watch.ingest.formats.spans import LEFT_OUT
from nordiq_watch.ingest.formats.tracks import Grid

_MOST_SLOTS = 400
"""Of one server beyond those of the lateness. A sender that catches up with a day has 288."""

_LEAST_SLOTS = 3
"""That stay open where there is no room for samples."""

_TRY_AGAIN_SECONDS, _GIVE_UP_SECONDS = 5.0, 600.0
"""A slot whose last word is not kept is closed so much later."""


@dataclass(frozen=True, slots=True)
class Before:
    """What there was before this process began, at `until` (Unix time), which it does not go on from.

    known: the metrics that the window has of a server in a slot.
    """

    until: float
    known: Callable[[str, int], Collection[str]]


class SlotBook:
    """For one thread at a time. servers: the translator's own. before: None where nothing was before. newly_kept: slots
    that were opened while the window had metrics of them, for the log; newly_others: metrics of slots that belong to
    other routes, so too. route: None if there is no other one.

    Where a process began without knowing what an earlier one was sent, the values that the window has of a slot stay
    until the server was heard for more than half of it.
    """

    def __init__(
        self,
        rules: Sequence[MetricRule],
        servers: Mapping[str, ServerSeries],
        grid: Grid,
        *,
        lateness_seconds: float,
        before: Before | None = None,
        route: Route | None = None,
    ) -> None:
        self.before = before
        self._route = route
        self._rules = rules
        self._servers = servers
        self._grid = grid
        self.lateness_seconds = lateness_seconds
        self._most_slots = _MOST_SLOTS + 2 * int(lateness_seconds // grid.interval_seconds)
        self._deadlines: list[tuple[float, int, str, int]] = []
        self._count = itertools.count()
        self._opened = 0
        self.newly_kept: list[tuple[str, int, list[str]]] = []
        self.newly_others: list[tuple[str, int, list[str]]] = []

    def open(
        self, name: str, server: ServerSeries, number: int, now: float, *, shift: float | None = None
    ) -> OpenSlot | None:
        """The slot, opened if it was not heard of; None if it was closed before. shift: None but for the log of an
        earlier process: for how many seconds longer it is open.
        """
        slot = server.slots.get(number)
        if slot is not None or number in server.closed:
            return slot
        end = float((number + 1) * self._grid.interval_seconds)
        slot = server.slots[number] = OpenSlot(number, max(end, now) + self.lateness_seconds + (shift or 0.0))
        if self.before is not None and number * self._grid.interval_seconds <= self.before.until:
            slot.kept = self._known_before(name, number, self.before)
            if slot.kept:
                self.newly_kept.append((name, number, sorted(slot.kept)))
        elif shift is None and now > end + self.lateness_seconds:
            self._leave_what_is_over(name, slot)
        self._opened += 1
        self.watch(name, slot)
        return slot

    def _known_before(self, name: str, number: int, before: Before) -> frozenset[str]:
        """Metrics that the window has of a slot from before this process, not by another route of it."""
        claimed = frozenset[str]() if self._route is None else self._route.owners.claimed(name, number)
        return frozenset(before.known(name, number)) - claimed

    def watch(self, name: str, slot: OpenSlot) -> None:
        """Closes the slot when its time has come."""
        self._watch(name, slot.number, slot.deadline)

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers have other names, old → new."""
        self._deadlines = [(at, count, names.get(name, name), slot) for at, count, name, slot in self._deadlines]
        if self._route is not None:
            self._route.owners.rename(names)

    def make_room(self, name: str, server: ServerSeries, said: Said) -> None:
        """Closes the server's oldest slots where there are too many."""
        most = _LEAST_SLOTS if server.budget.is_full else self._most_slots
        while len(server.slots) > most:
            oldest = server.slots[min(server.slots)]
            said.losses.add(Drop.NO_ROOM, f"the slot of {name} at {self._begin(oldest):.0f} is closed early")
            self._say(name, server, oldest, self._rules, said, final=True)
            self._close(name, server, oldest.number, said)

    def say(self, name: str, server: ServerSeries, changed: Mapping[int, int], said: Said) -> None:
        """The values of the slots that changed, oldest first, and of those that have something to say still.

        changed: slot → roles of the series of which more is known.
        """
        waiting = [number for number, slot in server.slots.items() if slot.waits]
        for number in sorted({*changed, *waiting}):
            slot = server.slots.get(number)
            if slot is not None:
                roles = changed.get(number, 0)
                metrics = {rule.metric for rule in self._rules if roles & (rule.value_role | rule.of_role)}
                touched = [rule for rule in self._rules if rule.metric in metrics]
                self._say(name, server, slot, self._rules if slot.waits else touched, said, touched=touched)

    def close_due(self, now: float, said: Said, *, most: int) -> None:
        """Closes slots whose time has come, at most `most` beyond twice as many as were opened since the call before.
        One whose last word is on its way is closed later.
        """
        most, self._opened = most + 2 * self._opened, 0
        while most and self.is_due(now):
            most -= 1
            _, _, name, number = heapq.heappop(self._deadlines)
            server = self._servers.get(name)
            slot = None if server is None else server.slots.get(number)
            if server is None or slot is None or slot.deadline > now:
                continue
            before = len(said.readings)
            self._say(name, server, slot, self._rules, said, final=True)
            is_under_way = len(said.readings) > before or slot.in_flight or slot.put_off
            if is_under_way and now < slot.deadline + _GIVE_UP_SECONDS:
                self._watch(name, number, now + _TRY_AGAIN_SECONDS)
            else:
                self._close(name, server, number, said)

    def _close(self, name: str, server: ServerSeries, number: int, said: Said) -> None:
        for reason, count in server.count_left_out(number).items():
            said.losses.add(reason, f"a delta of {name} {LEFT_OUT[reason]}", count)
        server.close(number)

    def is_due(self, now: float) -> bool:
        return bool(self._deadlines) and self._deadlines[0][0] <= now

    def close_quietly(self, now: float) -> None:
        """Closes slots whose time has come, which an earlier process had its last word on."""
        while self.is_due(now):
            _, _, name, number = heapq.heappop(self._deadlines)
            server = self._servers.get(name)
            if server is not None and number in server.slots:
                server.close(number)

    def settle(self, readings: Iterable[Reading], *, kept: bool) -> None:
        """An answer with these readings is given: they were kept, or refused for ever; or they are to be said again."""
        for reading in readings:
            server = self._servers.get(reading.server)
            slot = server and server.slots.get(int(reading.timestamp // self._grid.interval_seconds))
            if not slot or not reading.values or not slot.in_flight:
                continue
            slot.in_flight -= 1
            if not kept or (slot.overlapped and not slot.in_flight):
                for metric in reading.values if not kept else list(slot.said):
                    slot.said.pop(metric, None)
                slot.waits = True
            slot.overlapped &= slot.in_flight > 0

    def _say(
        self,
        name: str,
        server: ServerSeries,
        slot: OpenSlot,
        rules: Sequence[MetricRule],
        said: Said,
        *,
        touched: Collection[MetricRule] = (),
        final: bool = False,
    ) -> None:
        """Adds a reading of what is new: of touched rules, and of others whose value is not the one said last."""
        values: dict[str, float] = {}
        waits = False
        evaluation = Evaluation(self._grid, server, slot, final)
        for rule, value, misses in values_of(rules, evaluation, said, name=name):
            waits |= misses
            if value is not None and (rule in touched or slot.said.get(rule.metric) != value):
                values[rule.metric] = value
        slot.waits = waits if len(rules) == len(self._rules) else slot.waits or waits
        if slot.kept and self._known_share(server, slot) <= 0.5:
            slot.waits |= not slot.kept.isdisjoint(values)
            values = {metric: value for metric, value in values.items() if metric not in slot.kept}
        overtakes = self._route is not None and bool(values) and self._claim(name, slot, values, touched, said)
        if values:
            slot.said.update(values)
            slot.overlapped |= slot.in_flight > 0 or overtakes
            slot.in_flight += 1
            said.readings.append(Reading(name, self._begin(slot), values))

    def _claim(
        self, name: str, slot: OpenSlot, values: dict[str, float], touched: Collection[MetricRule], said: Said
    ) -> bool:
        """Leaves out metrics that belong to another route. Whether others were said by one, which may be on its way."""
        assert self._route
        claim = self._route.claim(name, slot.number, [metric for metric in values if metric not in slot.others])
        lost = {**dict.fromkeys(slot.others & values.keys(), "another route"), **claim.lost}
        for metric, owner in lost.items():
            if any(rule.metric == metric for rule in touched):
                said.losses.add(Drop.DUPLICATE, f"{metric} of {name} also comes by {owner}, which goes first")
        self._leave_to_others(name, slot, frozenset(claim.lost))
        for metric in (*lost, *claim.put_off):
            del values[metric]
        slot.put_off = bool(claim.put_off)
        slot.waits |= slot.put_off
        return claim.took_over

    def _leave_what_is_over(self, name: str, slot: OpenSlot) -> None:
        if self.before is not None and self._route is not None and self._route.owners.is_over(name, slot.number):
            self._leave_to_others(name, slot, frozenset(self.before.known(name, slot.number)))

    def _leave_to_others(self, name: str, slot: OpenSlot, metrics: frozenset[str]) -> None:
        self.newly_others += [(name, slot.number, sorted(more))] if (more := metrics - slot.others) else []
        slot.others |= metrics

    def note_restored(self) -> None:
        """What is known of open slots from an earlier process will be said; routes that go later wait for it."""
        if self._route is not None:
            self._route.owners.note_restored(self._route.name, {name: one.slots for name, one in self._servers.items()})

    def note_said(self, name: str) -> None:
        if self._route is not None:
            self._route.owners.note_said(self._route.name, name)

    def _known_share(self, server: ServerSeries, slot: OpenSlot) -> float:
        """Of which part of a slot this process heard the server."""
        begin = self._begin(slot)
        end = begin + self._grid.interval_seconds
        return (min(server.heard, end) - max(server.since, begin)) / self._grid.interval_seconds

    def _watch(self, name: str, number: int, deadline: float) -> None:
        heapq.heappush(self._deadlines, (deadline, next(self._count), name, number))

    def _begin(self, slot: OpenSlot) -> float:
        return float(slot.number * self._grid.interval_seconds)
