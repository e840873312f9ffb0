"""A snapshot of the window, cut into portions that are as large as the forward pass wants them.

HostSweep    builds the inputs in host memory, from the snapshot.
DeviceSweep  builds those of whole encoders on the device, from the window that is kept there; of shorter ones, and of a
             snapshot that does not say what changed, as above.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from nordiq_watch.network.derived_inputs import reads_back
from nordiq_watch.network.device_window import DeviceWindow
from nordiq_watch.network.features import Features, Inputs
from nordiq_watch.records.arrays import BoolArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec

Portion = tuple[IntArray, Inputs]
"""Which of the warm rows these are, and their inputs."""


class Sweep(Protocol):
    def cut(self, snapshot: WindowSnapshot) -> tuple[IntArray, Iterator[Portion]]:
        """The warm rows, and each of them in one portion. ValueError for a window that lacks what the model reads."""


class HostSweep:
    """Immutable."""

    def __init__(self, features: Features, *, servers_at_once: int) -> None:
        self._features = features
        self._servers_at_once = servers_at_once

    def cut(self, snapshot: WindowSnapshot) -> tuple[IntArray, Iterator[Portion]]:
        rows = self._features.warm_rows(snapshot)
        return rows, self.build(snapshot, rows, np.arange(len(rows)))

    def build(self, snapshot: WindowSnapshot, rows: IntArray, which: IntArray) -> Iterator[Portion]:
        """Some of the warm rows."""
        for places in split(which, self._servers_at_once):
            yield places, self._features.build(snapshot, rows[places])


class DeviceSweep:
    """One thread at a time, until the last portion was taken."""

    def __init__(self, features: Features, spec: ModelSpec, *, servers_at_once: int, device: str) -> None:
        self._features = features
        self._servers_at_once = servers_at_once
        self._host = HostSweep(features, servers_at_once=servers_at_once)
        self._window = DeviceWindow(
            length=reads_back(spec), encoder=spec.max_encoder_length, metrics=len(spec.metrics), device=device
        )
        self.copied_cells = 0
        """By the last cut."""

    @property
    def window_bytes(self) -> int:
        """Memory that the window takes on the device."""
        return self._window.nbytes

    def cut(self, snapshot: WindowSnapshot) -> tuple[IntArray, Iterator[Portion]]:
        self.copied_cells = 0
        columns = self._features.columns(snapshot)
        if not self._window.can_take(snapshot):
            return self._host.cut(snapshot)
        self.copied_cells = self._window.take(snapshot, columns)
        samples, whole = self._window.count_samples()
        rows = self._features.choose_warm(snapshot, samples)
        return rows, self._build(snapshot, rows, whole[rows])

    def _build(self, snapshot: WindowSnapshot, rows: IntArray, whole: BoolArray) -> Iterator[Portion]:
        for places in split(np.flatnonzero(whole), self._servers_at_once):
            values, statuses = self._window.read(rows[places])
            yield places, self._features.build_whole(snapshot, rows[places], values=values, statuses=statuses)
        yield from self._host.build(snapshot, rows, np.flatnonzero(~whole))


def split(places: IntArray, size: int) -> Iterator[IntArray]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
