"""Progress towards the first forecast: one rule, for `/status`, for feed answers and for "insufficient data".

A server is ready if it is not silent and has samples in enough of the newest slots that the model reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nordiq_watch.ingest.window import Window
from nordiq_watch.network.checks import required_samples
from nordiq_watch.portions import portions
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec


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


def measure_warmup(samples: IntArray, requirement: Requirement) -> Warmup:
    """samples (servers,): of servers that are not silent, within the requirement's slots."""
    furthest = int(samples.max(initial=0))
    ready = count_ready(samples, requirement)
    return Warmup(
        is_warmed_up=ready > 0,
        progress_percent=round(100 * min(1.0, furthest / requirement.samples), 1),
        threshold=requirement.samples,
        current_size=furthest,
        required_size=requirement.samples,
        message=_describe(ready, len(samples), furthest=furthest, requirement=requirement),
    )


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
