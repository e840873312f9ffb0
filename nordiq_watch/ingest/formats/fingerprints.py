"""Which samples the newest closed slots of a server had, in four bytes each, so that repetitions are no losses.

One of four billion other samples has the same fingerprint as a known one: it would count as a duplicate, as nothing
else.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from struct import Struct
from zlib import crc32

MOST_SLOTS = 24
"""Of a server: those of two hours, with slots of five minutes."""

_pack = Struct("<dd").pack


def fingerprint(key: bytes, at: float, value: float) -> int:
    """Of a sample of the series with this key."""
    return crc32(_pack(at, value), crc32(key))


class Fingerprints:
    """For one thread at a time."""

    def __init__(self) -> None:
        self._slots: dict[int, array[int]] = {}  # in order of their closing

    @property
    def weight(self) -> int:
        """Their memory, in samples of 16 bytes."""
        return sum(map(len, self._slots.values())) // 4

    def add(self, slot: int, prints: Iterable[int]) -> None:
        """All samples of a slot that is closed."""
        self._slots[slot] = array("I", sorted(prints))
        while len(self._slots) > MOST_SLOTS:
            del self._slots[next(iter(self._slots))]

    def has(self, slot: int, print_: int) -> bool:
        known = self._slots.get(slot)
        if known is None:
            return False
        place = bisect_left(known, print_)
        return place < len(known) and known[place] == print_

    def clear(self) -> None:
        self._slots.clear()

    def save(self) -> dict[int, bytes]:
        """For `restore` in another process of this machine."""
        return {slot: known.tobytes() for slot, known in self._slots.items()}

    def restore(self, saved: Mapping[int, bytes]) -> None:
        """ValueError if it is damaged."""
        self._slots = {slot: array("I", known) for slot, known in saved.items()}
