"""A small synthetic fleet: daily rhythm, noise and incidents, for the demo and for experiments.

The same seed and end give the same numbers. None of them was measured anywhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, IntArray

METRICS = ("cpu_user_pct", "cpu_sys_pct", "cpu_iowait_pct", "mem_used_pct", "net_in_mb_s", "load_average")
INTERVAL_SECONDS = 300
SECONDS_PER_DAY = 86_400
SLOTS_PER_DAY = SECONDS_PER_DAY // INTERVAL_SECONDS
CORES = 8
NOISE_MEMORY = 0.9  # how much of a slot's noise is the slot's before: loads wander, they do not jump
LEAK_SLOTS = 6 * 3600 // INTERVAL_SECONDS
RUNAWAY_SLOTS = 90 * 60 // INTERVAL_SECONDS
STORM_SLOTS = 45 * 60 // INTERVAL_SECONDS
INCIDENTS_A_DAY = 0.35  # of each kind, on each server


@dataclass(frozen=True, slots=True)
class Role:
    """The daily load of one kind of server. Loads are in percent, traffic in MB/s; peak_hour is UTC."""

    prefix: str
    servers: int
    quiet_cpu: float
    busy_cpu: float
    memory: float
    iowait: float
    traffic: float
    peak_hour: float


ROLES = (
    Role("ppdb", 2, quiet_cpu=18, busy_cpu=55, memory=74, iowait=8, traffic=12, peak_hour=14),
    Role("ppml", 2, quiet_cpu=30, busy_cpu=80, memory=62, iowait=2, traffic=5, peak_hour=2),
    Role("ppapi", 2, quiet_cpu=12, busy_cpu=60, memory=48, iowait=1, traffic=25, peak_hour=15),
    Role("ppweb", 3, quiet_cpu=10, busy_cpu=50, memory=40, iowait=1, traffic=40, peak_hour=19),
    Role("ppcon", 1, quiet_cpu=8, busy_cpu=20, memory=35, iowait=1, traffic=2, peak_hour=10),
    Role("ppetl", 1, quiet_cpu=5, busy_cpu=85, memory=55, iowait=12, traffic=18, peak_hour=4),
    Role("pprisk", 1, quiet_cpu=15, busy_cpu=70, memory=58, iowait=2, traffic=6, peak_hour=17),
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """values (servers, slots, metrics) in the metrics' units; slot s begins at s * INTERVAL_SECONDS of Unix time."""

    servers: tuple[str, ...]
    slots: IntArray
    values: DoubleArray

    def records(self, *, newest: int | None = None) -> Iterator[list[dict[str, Any]]]:
        """The records this fleet would have sent to /feed/data, one list per slot, oldest first; all slots, or the
        newest ones.
        """
        first = 0 if newest is None else max(0, len(self.slots) - newest)
        for column in range(first, len(self.slots)):
            timestamp = self._timestamp(column)
            yield [
                {"timestamp": timestamp, "server_name": server, **dict(zip(METRICS, row, strict=True))}
                for server, row in zip(self.servers, self.values[:, column].tolist(), strict=True)
            ]

    def _timestamp(self, column: int) -> str:
        moment = int(self.slots[column]) * INTERVAL_SECONDS
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def make_fleet(end: float, *, days: int = 8, seed: int = 7) -> Fleet:
    """A fleet whose last slot contains the Unix time `end`."""
    chance = np.random.default_rng(seed)
    last_slot = int(end // INTERVAL_SECONDS)
    slots = np.arange(last_slot - days * SLOTS_PER_DAY + 1, last_slot + 1)
    servers = tuple(f"{role.prefix}{number:03}" for role in ROLES for number in range(1, role.servers + 1))
    values = np.stack([_live(role, slots * INTERVAL_SECONDS, chance) for role in ROLES for _ in range(role.servers)])
    return Fleet(servers, slots, values.round(3))


def write_csv(fleet: Fleet, path: Path) -> None:
    """The fleet as a training dataset."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["timestamp", "server_name", *METRICS])
        writer.writeheader()
        for records in fleet.records():
            writer.writerows(records)


def _live(role: Role, seconds: IntArray, chance: np.random.Generator) -> DoubleArray:
    """(slots, metrics): one server's days."""
    busy = _rhythm(role, seconds) * chance.uniform(0.85, 1.15)
    runaway = _incidents(len(seconds), RUNAWAY_SLOTS, chance)
    storm = _incidents(len(seconds), STORM_SLOTS, chance)
    leak = _incidents(len(seconds), LEAK_SLOTS, chance)
    user = role.quiet_cpu + (role.busy_cpu - role.quiet_cpu) * busy + _noise(len(seconds), 3, chance)
    user = user + (95 - user) * (runaway > 0)
    iowait = role.iowait * (0.5 + busy) + 30 * (storm > 0) + _noise(len(seconds), 0.6, chance)
    memory = role.memory + 8 * busy + (95 - role.memory) * leak + _noise(len(seconds), 1, chance)
    user, iowait, memory = (np.clip(column, 0.2, 97) for column in (user, iowait, memory))
    system = np.clip(0.18 * user + _noise(len(seconds), 0.5, chance), 0.2, 30)
    scale = np.minimum(1, 100 / (user + system + iowait))  # a CPU has a hundred percent
    user, system, iowait = user * scale, system * scale, iowait * scale
    traffic = np.clip(role.traffic * (0.2 + busy) + _noise(len(seconds), role.traffic * 0.05, chance), 0, None)
    load = (user + system + iowait) / 100 * CORES * chance.uniform(0.95, 1.2)
    return np.stack([user, system, iowait, memory, traffic, load], axis=1)


def _rhythm(role: Role, seconds: IntArray) -> DoubleArray:
    """0 at night, 1 at the peak hour; three quarters of that at weekends."""
    hours = (seconds % SECONDS_PER_DAY) / 3600
    day = (0.5 + 0.5 * np.cos((hours - role.peak_hour) / 24 * 2 * np.pi)) ** 1.5
    weekend = (seconds // SECONDS_PER_DAY + 3) % 7 >= 5  # day 0 of Unix time was a Thursday
    rhythm: DoubleArray = day * np.where(weekend, 0.75, 1.0)
    return rhythm


def _noise(length: int, spread: float, chance: np.random.Generator) -> DoubleArray:
    """A first-order autoregression with the standard deviation `spread`."""
    shocks = chance.normal(scale=spread * (1 - NOISE_MEMORY**2) ** 0.5, size=length)
    noise = np.empty(length)
    level = 0.0
    for step, shock in enumerate(shocks):
        level = NOISE_MEMORY * level + shock
        noise[step] = level
    return noise


def _incidents(length: int, duration: int, chance: np.random.Generator) -> DoubleArray:
    """0 outside incidents; rises from just above 0 to 1 during one."""
    course = np.zeros(length)
    for start in np.flatnonzero(chance.random(length) < INCIDENTS_A_DAY / SLOTS_PER_DAY):
        course[start : start + duration] = np.linspace(0, 1, duration + 1)[1:][: length - start]
    return course
