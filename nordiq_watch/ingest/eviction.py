"""Decides which servers leave the window when room is short: the longest silent one, and only for a later name.

A server with a sample within `window.silent_seconds` is never evicted: new names beyond `max_servers` are refused as
long as all servers are sending.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Eviction:
    """The effect of a batch on the window's servers.

    arrived: admitted new names. refused: names without room. replaced: servers evicted for new ones, with the slot of
    their newest sample. aged: servers whose newest sample leaves the ring.
    """

    arrived: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    replaced: Mapping[str, int] = field(default_factory=dict)
    aged: tuple[str, ...] = ()

    @property
    def ended(self) -> tuple[str, ...]:
        """All servers that leave."""
        return (*self.aged, *self.replaced)


def choose_evictions(
    newcomers: Sequence[tuple[str, int]], *, free: int, silent: Iterator[tuple[str, int]]
) -> tuple[list[str], dict[str, int]]:
    """The new names to refuse, and the silent servers to replace.

    newcomers: new names with the slot of their newest sample, in order of admission. free: number that fit without an
    eviction. silent: servers that may leave, with their newest slot, longest silent first.
    """
    refused: list[str] = []
    replaced: dict[str, int] = {}
    leaver = next(silent, None)
    for name, slot in newcomers[free:]:
        if leaver is None or leaver[1] >= slot:
            refused.append(name)
        else:
            replaced[leaver[0]] = leaver[1]
            leaver = next(silent, None)
    return refused, replaced
