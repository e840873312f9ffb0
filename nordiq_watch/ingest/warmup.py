"""Progress towards the first forecast: one rule, for `/status`, for feed answers and for "insufficient data".

A server is ready if it is not silent and has samples in enough of the newest slots that the model reads. Samples that
come less often than the grid has slots may never be enough: that is told, with the pace of the fleet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nordiq_watch.ingest.window import Window
from nordiq_watch.network.checks import required_samples
from nordiq_watch.pace import FEWEST_GAPS, measure_paces, round_pace
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import BoolArray, FloatArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec

_HOUR, _WHOLE_HOURS = 3600, 10

_SLOWER = 1.5
"""A pace below this, in slots, is the grid's own with some samples that lack."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """A server is ready with `samples` of the newest `slots` slots, each with any of `metrics` measured."""

    slots: int
    samples: int
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Warmup:
    """`warmup` of `/status`. It is over when the first server is ready.

    threshold: samples one server needs. current_size: counting samples of the furthest server. required_size: the value
    that current_size has to reach, the threshold again.
    """

    is_warmed_up: bool
    progress_percent: float
    threshold: int
    current_size: int
    required_size: int
    message: str


@dataclass(frozen=True, slots=True)
class Pace:
    """A sample every `seconds`, on slots of `interval_seconds`."""

    seconds: int
    interval_seconds: int

    def warn(self) -> str:
        return (
            f"Samples come every {self.seconds} s, the grid has {self.interval_seconds} s: at this pace the warm-up "
            f"never ends. Feed more often, or set window.interval_seconds to {self.seconds} and train a model with it."
        )


def requirement_of(spec: ModelSpec | None, window: Window) -> Requirement:
    """The live model's requirement; without a model, that of one that reads the whole window."""
    if spec is None:
        return Requirement(slots=window.length, samples=max(1, window.length // 2), metrics=window.metrics)
    return Requirement(slots=spec.max_encoder_length, samples=required_samples(spec), metrics=spec.metrics)


def count_samples(
    snapshot: WindowSnapshot, requirement: Requirement, *, rows: IntArray | slice = slice(None)
) -> IntArray:
    """(rows,): counting samples of these servers of the snapshot. `Window.samples_within` is the same for now."""
    chosen = np.arange(len(snapshot.servers))[rows]
    samples = np.zeros(len(chosen), dtype=np.int64)
    for part in portions(len(chosen)):
        newest = snapshot.values[chosen[part], -requirement.slots :]
        measured = np.zeros(newest.shape[:2], dtype=np.bool_)
        for metric in requirement.metrics:
            measured |= ~np.isnan(newest[..., snapshot.metrics.index(metric)])
        samples[part] = np.count_nonzero(measured, axis=1)
    return samples


def count_ready(samples: IntArray, requirement: Requirement) -> int:
    """samples (servers,): of servers that are not silent."""
    return int(np.count_nonzero(samples >= requirement.samples))


def pace_of(window: Window, requirement: Requirement) -> Pace | None:
    """As `find_endless_pace`, of the window's servers that are not silent. A look at the whole window."""
    present = window.presence()
    heard = present[:, -int(window.silent_seconds // window.interval_seconds) - 1 :].any(axis=1)
    return find_endless_pace(present[heard], requirement, interval_seconds=window.interval_seconds)


class PaceLately:
    """As `pace_of`, looked for anew once a slot began, the window has twice or half the samples, or the requirement is
    another one. From any thread.
    """

    def __init__(self) -> None:
        self._last: tuple[object, Pace | None] = None, None

    def __call__(self, window: Window, requirement: Requirement) -> Pace | None:
        standing = window.newest_slot, window.size.bit_length(), requirement
        last = self._last
        if last[0] != standing:
            self._last = last = standing, pace_of(window, requirement)
        return last[1]


def warmup_of(
    window: Window, requirement: Requirement, *, find_pace: Callable[[Window, Requirement], Pace | None] = pace_of
) -> tuple[int, Warmup]:
    """How many servers are ready, and the warm-up, of the window as it is now."""
    samples = window.samples_within(requirement.slots, requirement.metrics)
    ready = count_ready(samples, requirement)
    pace = find_pace(window, requirement) if not ready and len(samples) else None
    return ready, measure_warmup(samples, requirement, interval_seconds=window.interval_seconds, pace=pace)


def warmup_in(snapshot: WindowSnapshot, requirement: Requirement) -> Warmup:
    """The warm-up of a snapshot's servers."""
    samples, pace = count_samples(snapshot, requirement), None
    if not count_ready(samples, requirement):
        present = np.empty(snapshot.values.shape[:2], dtype=np.bool_)
        for part in portions(len(present)):
            present[part] = ~np.isnan(snapshot.values[part]).all(axis=2)
        pace = find_endless_pace(present, requirement, interval_seconds=snapshot.interval_seconds)
    return measure_warmup(samples, requirement, interval_seconds=snapshot.interval_seconds, pace=pace)


def find_endless_pace(present: BoolArray, requirement: Requirement, *, interval_seconds: int) -> Pace | None:
    """The usual pace of the servers if at their paces none of them can ever be ready; None if one can, or none has a
    pace yet. present (servers, slots): whether there is a sample, oldest slot first.
    """
    slow: list[FloatArray] = []
    for part in portions(len(present)):
        if np.count_nonzero(present[part], axis=1).max() <= FEWEST_GAPS:
            continue  # as after the start of an ordinary fleet
        gaps = measure_paces(*np.nonzero(present[part]), grain=1).gaps
        most = (requirement.slots - 1) / gaps + 1  # samples that are in the requirement's slots at once
        if ((gaps < _SLOWER) | (most >= requirement.samples)).any():
            return None  # in an ordinary fleet after the first few hundred servers
        slow.append(gaps)
    paces = np.sort(np.concatenate(slow)) if slow else np.empty(0)
    if not len(paces):
        return None
    seconds = round_pace(float(paces[len(paces) // 2]) * interval_seconds, interval_seconds)
    return Pace(seconds, interval_seconds)


def measure_warmup(
    samples: IntArray, requirement: Requirement, *, interval_seconds: int, pace: Pace | None = None
) -> Warmup:
    """samples (servers,): of servers that are not silent, within the requirement's slots. pace: one at which none of
    them can be ready.
    """
    furthest = int(samples.max(initial=0))
    ready = count_ready(samples, requirement)
    return Warmup(
        is_warmed_up=ready > 0,
        progress_percent=round(100 * min(1.0, furthest / requirement.samples), 1),
        threshold=requirement.samples,
        current_size=furthest,
        required_size=requirement.samples,
        message=_describe(ready, len(samples), furthest=furthest, requirement=requirement)
        + ("" if ready or pace or not len(samples) else _tell_hours(requirement.samples - furthest, interval_seconds))
        + (f" {pace.warn()}" if pace and not ready else ""),
    )


def _tell_hours(missing: int, interval_seconds: int) -> str:
    hours = missing * interval_seconds / _HOUR
    until = f"{hours:.1f} hours" if hours < _WHOLE_HOURS else f"{hours:.0f} hours"
    return f" That takes about {until}; `nordiq-watch import` of their history ends it sooner."


def _describe(ready: int, servers: int, *, furthest: int, requirement: Requirement) -> str:
    needed = requirement.samples
    if not servers:
        return f"Waiting for data: no server was fed yet; a server needs {needed} samples."
    if not ready:
        return (
            f"Warming up: the furthest of {servers} servers has {furthest} of {needed} samples, "
            f"{needed - furthest} are still missing."
        )
    return f"Warmed up: {ready} of {servers} servers have the {needed} samples that a forecast needs."
