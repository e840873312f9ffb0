"""Which route a metric of a server is taken from in a slot, where several have it: of those the first in a fixed order.

The rule knows no order of arrival, so that it gives the same after a restart. What a route says that goes first takes
the place of what another one said. A slot whose time is over for all routes keeps what it has, see `slot_book`.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Claims:
    """Of one server and slot. at: of the newest, by the clock. ranks: metric → the route's place in the order."""

    at: float
    ranks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """lost: metric → the route that it belongs to. put_off: of which it is not known yet what a route that goes first
    says of them. took_over: whether another route has said some of the others.
    """

    lost: Mapping[str, str]
    put_off: Sequence[str]
    took_over: bool


class Owners:
    """From any thread. order: names of routes, the first goes first. keep_seconds: after the last claim for a slot of a
    server, no route has it open.
    """

    def __init__(self, order: Sequence[str], *, keep_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self.order = tuple(order)
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._claims: OrderedDict[tuple[str, int], _Claims] = OrderedDict()  # the newest claim is the last
        self._restored: dict[int, dict[str, frozenset[int]]] = {}
        self._lock = threading.Lock()

    def note_restored(self, route: str, slots: Mapping[str, Iterable[int]]) -> None:
        """What a route knows of these open slots of servers from before a restart is not said yet."""
        with self._lock:
            self._restored[self.order.index(route)] = {server: frozenset(of) for server, of in slots.items()}

    def note_said(self, route: str, server: str) -> None:
        """It is said now."""
        with self._lock:
            self._restored[self.order.index(route)].pop(server, None)

    def claim(self, route: str, server: str, slot: int, metrics: Iterable[str]) -> Claim:
        """A route wants to say these metrics of a slot."""
        own, now = self.order.index(route), self._clock()
        with self._lock:
            self._forget_before(now)
            known = self._claims.setdefault((server, slot), _Claims(now))
            known.at = now
            self._claims.move_to_end((server, slot))
            lost, put_off, took_over = {}, list[str](), False
            must_wait = self._is_restored(server, slot, before=own)
            for metric in metrics:
                rank = known.ranks.get(metric)
                if rank is not None and rank < own:
                    lost[metric] = self.order[rank]
                elif rank != own and must_wait:
                    put_off.append(metric)
                else:
                    took_over |= rank not in (None, own)
                    known.ranks[metric] = own
        return Claim(lost, put_off, took_over)

    def claimed(self, server: str, slot: int) -> frozenset[str]:
        """The metrics that routes of this process have said."""
        with self._lock:
            self._forget_before(self._clock())
            known = self._claims.get((server, slot))
            return frozenset() if known is None else frozenset(known.ranks)

    def is_over(self, server: str, slot: int) -> bool:
        """Whether no route has a slot open, if the time is over in which a first sample of it may come."""
        with self._lock:
            self._forget_before(self._clock())
            return (server, slot) not in self._claims and not self._is_restored(server, slot, before=len(self.order))

    def _forget_before(self, now: float) -> None:
        while self._claims and not 0 <= now - next(iter(self._claims.values())).at <= self._keep_seconds:
            self._claims.popitem(last=False)

    def _is_restored(self, server: str, slot: int, *, before: int) -> bool:
        return any(slot in of.get(server, ()) for rank, of in self._restored.items() if rank < before)

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers have other names, old → new."""
        with self._lock:
            renamed = [((names.get(name, name), slot), known) for (name, slot), known in self._claims.items()]
            self._claims = OrderedDict(renamed)
            for rank, of in self._restored.items():
                self._restored[rank] = {names.get(name, name): slots for name, slots in of.items()}


@dataclass(frozen=True, slots=True)
class Route:
    """One of the routes."""

    owners: Owners
    name: str

    def claim(self, server: str, slot: int, metrics: Iterable[str]) -> Claim:
        return self.owners.claim(self.name, server, slot, metrics)
