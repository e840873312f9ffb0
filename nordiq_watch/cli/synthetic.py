"""A small synthetic fleet: daily rhythm, noise and incidents, for the demo and for experiments.

Its day has 288 slots: 24 hours at 5 minutes, less at a shorter interval. The same seed and end give the same numbers.
None of them was measured anywhere.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from nordiq_watch.records.arrays import DoubleArray, IntArray

METRICS = ("cpu_user_pct", "cpu_sys_pct", "cpu_iowait_pct", "mem_used_pct", "net_in_mb_s", "load_average")
INTERVAL_SECONDS = 300
SLOTS_PER_DAY = 288
CORES = 8
NOISE_MEMORY = 0.9  # how much of a slot's noise is the slot's before: loads wander, they do not jump
INCIDENTS_A_DAY = 0.35  # of each kind, on each server
NOISES = 5


class Incident(IntEnum):
    """What befalls a server; the value is how many slots it lasts."""

    STORM = 9
    """Waiting for disks."""

    RUNAWAY = 24
    """A process takes the CPU: over half of the time more and more of it, then all."""

    LEAK = 72
    """Memory fills up."""


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
    """values (servers, slots, metrics) in the metrics' units; slot s begins at s * interval_seconds of Unix time."""

    servers: tuple[str, ...]
    slots: IntArray
    values: DoubleArray
    interval_seconds: int = INTERVAL_SECONDS

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
        moment = int(self.slots[column]) * self.interval_seconds
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class Simulation:
    """The fleet's load, slot after slot, for as long as wanted; the next slot is `next_slot`."""

    def __init__(self, first_slot: int, *, interval_seconds: int = INTERVAL_SECONDS, seed: int = 7) -> None:
        self.next_slot = first_slot
        self._interval_seconds = interval_seconds
        chance = np.random.default_rng(seed)
        self._servers = {
            f"{role.prefix}{number:03}": _Server(role, chance)
            for role in ROLES
            for number in range(1, role.servers + 1)
        }

    def run_until(self, moment: float) -> Fleet:
        """The slots from the next one to that of the Unix time `moment`; none if that one was there already."""
        end = max(self.next_slot, int(moment // self._interval_seconds) + 1)
        slots = np.arange(self.next_slot, end)
        self.next_slot = end
        values = np.stack([server.live(slots) for server in self._servers.values()])
        return Fleet(tuple(self._servers), slots, values.round(3), self._interval_seconds)

    def strike(self, server: str, incident: Incident) -> None:
        """The incident begins at this server with the next slot."""
        self._servers[server].strike(incident)


def make_fleet(end: float, *, days: int = 8, seed: int = 7, interval_seconds: int = INTERVAL_SECONDS) -> Fleet:
    """A fleet whose last slot contains the Unix time `end`."""
    first_slot = int(end // interval_seconds) - days * SLOTS_PER_DAY + 1
    return Simulation(first_slot, interval_seconds=interval_seconds, seed=seed).run_until(end)


def write_csv(fleet: Fleet, path: Path) -> None:
    """The fleet as a training dataset."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["timestamp", "server_name", *METRICS])
        writer.writeheader()
        for records in fleet.records():
            writer.writerows(records)


class _Server:
    def __init__(self, role: Role, chance: np.random.Generator) -> None:
        self._role = role
        self._chance = chance
        self._busier = chance.uniform(0.85, 1.15)
        self._load_per_core = chance.uniform(0.95, 1.2)
        self._noise = np.zeros(NOISES)
        self._going_on: dict[Incident, DoubleArray] = {kind: np.zeros(0) for kind in Incident}

    def strike(self, incident: Incident) -> None:
        self._going_on[incident] = _course(incident)

    def live(self, slots: IntArray) -> DoubleArray:
        """(slots, metrics): what follows on the slots before."""
        role, count = self._role, len(slots)
        busy = _rhythm(role, slots) * self._busier
        storm, runaway, leak = (self._incidents(kind, count) for kind in Incident)
        noise = self._noises(count)
        user = role.quiet_cpu + (role.busy_cpu - role.quiet_cpu) * busy + 3 * noise[:, 0]
        taken = np.minimum(1, 2 * runaway)
        user = user + (95 - user) * taken
        iowait = role.iowait * (0.5 + busy) + 30 * (storm > 0) + 0.6 * noise[:, 1]
        memory = role.memory + 8 * busy + (95 - role.memory) * leak + noise[:, 2]
        user, iowait, memory = (np.clip(column, 0.2, 97) for column in (user, iowait, memory))
        system = np.clip(0.18 * user * (1 - 0.8 * taken) + 0.5 * noise[:, 3], 0.2, 30)
        scale = np.minimum(1, 100 / (user + system + iowait))  # a CPU has a hundred percent
        user, system, iowait = user * scale, system * scale, iowait * scale
        traffic = np.clip(role.traffic * (0.2 + busy) + role.traffic * 0.05 * noise[:, 4], 0, None)
        load = (user + system + iowait) / 100 * CORES * self._load_per_core
        return np.stack([user, system, iowait, memory, traffic, load], axis=1)

    def _noises(self, count: int) -> DoubleArray:
        """(count, NOISES): first-order autoregressions with the standard deviation 1."""
        shocks = self._chance.normal(scale=(1 - NOISE_MEMORY**2) ** 0.5, size=(count, NOISES))
        noises = np.empty((count, NOISES))
        for step, shock in enumerate(shocks):
            self._noise = NOISE_MEMORY * self._noise + shock
            noises[step] = self._noise
        return noises

    def _incidents(self, kind: Incident, count: int) -> DoubleArray:
        """0 outside incidents; rises from just above 0 to 1 during one."""
        course = np.zeros(count + kind)
        before = self._going_on[kind]
        course[: len(before)] = before
        for start in np.flatnonzero(self._chance.random(count) < INCIDENTS_A_DAY / SLOTS_PER_DAY):
            course[start : start + kind] = _course(kind)
        self._going_on[kind] = np.trim_zeros(course[count:], "b")
        return course[:count]


def _course(kind: Incident) -> DoubleArray:
    course: DoubleArray = np.linspace(0, 1, kind + 1)[1:]
    return course


def _rhythm(role: Role, slots: IntArray) -> DoubleArray:
    """0 at night, 1 at the peak hour; three quarters of that at weekends."""
    hours = (slots % SLOTS_PER_DAY) / SLOTS_PER_DAY * 24
    day = (0.5 + 0.5 * np.cos((hours - role.peak_hour) / 24 * 2 * np.pi)) ** 1.5
    weekend = (slots // SLOTS_PER_DAY + 3) % 7 >= 5  # day 0 of Unix time was a Thursday
    rhythm: DoubleArray = day * np.where(weekend, 0.75, 1.0)
    return rhythm
