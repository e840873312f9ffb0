"""The series of one server: the last sample of each, and the increase of each counter. Compact, because there are
millions.

A series is identified by a digest of its labels and belongs to the group of series with the same roles in the same
rules: a node_exporter with 64 cores has 512 CPU series in four groups. Sums are made once per group and moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nordiq_watch.ingest.formats.budget import SeriesBudget
from nordiq_watch.ingest.formats.server_names import Key

GAP_SECONDS = 600.0
MAX_SERIES_PER_SERVER = 10_000

Total = tuple[float, int] | None
"""The sum over some series, and their number. None: one of them has no sample at this moment, or no rate yet."""


class Track:
    """The last sample of a series, and its increase since `base`, the last moment before the slot of `at`."""

    __slots__ = ("at", "base", "increase", "value")

    def __init__(self, at: float, value: float) -> None:
        self.at = self.base = at
        self.value = value
        self.increase = 0.0

    def take(self, at: float, value: float, *, interval_seconds: int) -> None:
        if at <= self.at:
            return
        if at // interval_seconds != self.at // interval_seconds:
            self.base, self.increase = self.at, 0.0
        if at - self.at > GAP_SECONDS:
            self.base, self.increase = at, 0.0
        else:
            self.increase += value - self.value if value >= self.value else value
        self.at, self.value = at, value

    def rate(self) -> float | None:
        return self.increase / (self.at - self.base) if self.at > self.base else None


@dataclass(slots=True)
class ServerTracks:
    """The state of one server. roles: a number with one bit per place in a rule that a series has.

    arrived: last arrival by this machine's clock; heard: time of its newest sample. unconfirmed: moment → values not
    yet known to be stored.
    """

    budget: SeriesBudget
    arrived: float = 0.0
    heard: float = 0.0
    swept: float = 0.0
    count: int = 0
    unconfirmed: dict[float, dict[str, float]] = field(default_factory=dict)
    groups: dict[int, dict[Key, Track]] = field(default_factory=dict)

    def take(self, roles: int, key: Key, sample: tuple[float, float], *, interval_seconds: int) -> bool:
        """Records a sample; False if the series is new and there is no room for it."""
        at, value = sample
        group = self.groups.get(roles)
        track = None if group is None else group.get(key)
        if track is not None:
            track.take(at, value, interval_seconds=interval_seconds)
            return True
        if self.count >= MAX_SERIES_PER_SERVER or not self.budget.take():
            return False
        self.count += 1
        self.groups.setdefault(roles, {})[key] = Track(at, value)
        return True

    def end(self, roles: int, keys: Iterable[Key]) -> None:
        """Ends these series."""
        group = self.groups.get(roles, {})
        ended = sum(group.pop(key, None) is not None for key in keys)
        self.count -= ended
        self.budget.release(ended)

    def end_all(self) -> None:
        self.groups.clear()
        self.budget.release(self.count)
        self.count = 0

    def sweep(self) -> None:
        """Ends series without a sample in the last GAP_SECONDS: devices and containers come and go."""
        for roles, group in self.groups.items():
            self.end(roles, [key for key, track in group.items() if self.heard - track.at > GAP_SECONDS])

    def total(self, roles: int, at: float, *, rate: bool) -> Total:
        """Sum over the series of a group, ending those without a sample for GAP_SECONDS."""
        total, count = 0.0, 0
        ended = []
        for key, track in self.groups[roles].items():
            if at - track.at > GAP_SECONDS:
                ended.append(key)
                continue
            value = track.rate() if rate else track.value
            if track.at != at or value is None:
                return None
            total, count = total + value, count + 1
        self.end(roles, ended)
        return total, count
