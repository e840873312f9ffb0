"""Who leaves the window when room is short: the server that is silent longest, and only for a name heard after it.

A server that was heard within `window.silent_seconds` never leaves for another one: new names beyond `max_servers` are
refused as long as every server is heard.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Seating:
    """What a batch does to the servers of a window.

    arrived: new names that are let in. refused: those that there is no room for. replaced: servers that leave for new
    ones, with the slot of their newest sample. aged: servers whose newest sample leaves the ring.
    """

    arrived: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    replaced: Mapping[str, int] = field(default_factory=dict)
    aged: tuple[str, ...] = ()

    @property
    def ended(self) -> tuple[str, ...]:
        """All servers that leave."""
        return (*self.aged, *self.replaced)


def seat(
    newcomers: Sequence[tuple[str, int]], *, free: int, silent: Iterator[tuple[str, int]]
) -> tuple[list[str], dict[str, int]]:
    """The new names to refuse, and the silent servers to replace.

    newcomers: new names with the slot of their newest sample, in the order in which they are let in. free: how many
    need nobody's place. silent: servers that may leave, with their newest slot, the one silent longest first.
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
