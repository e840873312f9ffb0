"""A dataset as the windows that a daemon would have had at any moment of it."""

from __future__ import annotations

from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.training.dataset import FleetData, Series, lay_statuses, lay_values


class RecordedFleet:
    """The servers of a dataset, by name, on its time grid. Immutable; copies only what a call returns.

    Gaps of up to `gaps.MAX_GAP_SLOTS` were filled when the dataset was read, by the rule of `network.gaps`; longer
    ones are unknown here, as they are in a window.
    """

    def __init__(self, data: FleetData) -> None:
        self.metrics = data.metrics
        self.interval_seconds = data.interval_seconds
        self.servers = tuple(data.servers)
        self._series: list[list[Series]] = [[] for _ in self.servers]
        rows = {server: row for row, server in enumerate(self.servers)}
        for series in data.series:
            self._series[rows[series.server]].append(series)
        self.profiles = tuple(pieces[-1].profile for pieces in self._series)
        self.first_slot = min(series.first_slot for series in data.series)
        self.end_slot = max(series.end_slot for series in data.series)

    def values(self, begin_slot: int, end_slot: int, *, servers: range) -> FloatArray:
        """(servers, slots, metrics) of [begin_slot, end_slot), NaN where nothing is known."""
        return lay_values(self._rows(servers), begin_slot, end_slot, metrics=len(self.metrics))

    def window(self, origin: int, *, length: int, servers: range) -> WindowSnapshot:
        """The window of `length` slots when slot `origin`, the first to be forecast, had not begun."""
        return WindowSnapshot(
            servers=self.servers[servers.start : servers.stop],
            profiles=self.profiles[servers.start : servers.stop],
            metrics=self.metrics,
            interval_seconds=self.interval_seconds,
            last_slot=origin - 1,
            values=self.values(origin - length, origin, servers=servers),
            statuses=lay_statuses(self._rows(servers), origin - length, origin),
        )

    def _rows(self, servers: range) -> list[list[Series]]:
        return self._series[servers.start : servers.stop]
