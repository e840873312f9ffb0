"""Which route a metric of a server is taken from in a slot, where several have it: of those the first in a fixed order.

The rule knows no order of arrival, so that it gives the same after a restart. What a route says that goes first takes
the place of what another one said.
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
    """lost: metric → the route that it belongs to. took_over: whether another route has said some of the others."""

    lost: Mapping[str, str]
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
        self._lock = threading.Lock()

    def claim(self, route: str, server: str, slot: int, metrics: Iterable[str]) -> Claim:
        """A route wants to say these metrics of a slot."""
        own, now = self.order.index(route), self._clock()
        with self._lock:
            known = self._claims.setdefault((server, slot), _Claims(now))
            known.at = now
            self._claims.move_to_end((server, slot))
            lost, took_over = {}, False
            for metric in metrics:
                rank = known.ranks.get(metric, own)
                if rank < own:
                    lost[metric] = self.order[rank]
                    continue
                took_over |= rank > own
                known.ranks[metric] = own
            while self._claims and not 0 <= now - next(iter(self._claims.values())).at <= self._keep_seconds:
                self._claims.popitem(last=False)
        return Claim(lost, took_over)

    def claimed(self, server: str, slot: int) -> frozenset[str]:
        """The metrics that routes of this process have said."""
        with self._lock:
            known = self._claims.get((server, slot))
            return frozenset() if known is None else frozenset(known.ranks)

    def rename(self, names: Mapping[str, str]) -> None:
        """Servers have other names, old → new."""
        with self._lock:
            renamed = [((names.get(name, name), slot), known) for (name, slot), known in self._claims.items()]
            self._claims = OrderedDict(renamed)


@dataclass(frozen=True, slots=True)
class Route:
    """One of the routes."""

    owners: Owners
    name: str

    def claim(self, server: str, slot: int, metrics: Iterable[str]) -> Claim:
        return self.owners.claim(self.name, server, slot, metrics)
