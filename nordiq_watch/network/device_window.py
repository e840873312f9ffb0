"""A model's part of the window, mirrored on its device: only cells that changed since the last snapshot are copied.

A ring of the slots that the model reads: cell (row, slot % length), with the rows of the daemon's window. A snapshot's
`cell_map` holds a write stamp per cell; this class remembers the last stamp copied per row. New samples, late samples,
new slots, servers that return and rows that are reused are therefore all handled the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray, IntArray
from nordiq_watch.records.samples import WindowSnapshot

_CELLS_AT_ONCE = 32_768
"""One slot of a large fleet; 2 MB with 14 metrics."""


class DeviceWindow:
    """For one thread at a time. Call `take` first; `read` then returns that snapshot."""

    def __init__(
        self, *, length: int, encoder: int, metrics: int, device: str, cells_at_once: int = _CELLS_AT_ONCE
    ) -> None:
        """length: slots that the model reads, its encoder's among them. metrics: number of metrics that it reads.

        cells_at_once: cells per copy.
        """
        self._length = length
        self._encoder = encoder
        self._device = torch.device(device)
        self._values = torch.empty(0, length, metrics, device=self._device)
        self._statuses = torch.empty(0, length, dtype=torch.uint8, device=self._device)
        self._copied: IntArray = np.empty(0, dtype=np.int64)  # up to which count of changes, for each row
        self._window: object = None  # whose snapshots these are
        self._count = 0  # of the last snapshot
        self._rows: IntArray = np.empty(0, dtype=np.int64)  # of its servers
        self._oldest = 0  # where the ring begins
        self._cells_at_once = cells_at_once
        self._staging = _Staging(cells_at_once, metrics=metrics, pinned=self._device.type == "cuda")

    @property
    def nbytes(self) -> int:
        return self._values.nbytes + self._statuses.nbytes

    def can_take(self, snapshot: WindowSnapshot) -> bool:
        """True if the snapshot carries write stamps and is not older than the last one taken."""
        cells = snapshot.cell_map
        if cells is None or cells.values is not snapshot.values or snapshot.values.shape[1] < self._length:
            return False
        return cells.window is not self._window or cells.count >= self._count

    def take(self, snapshot: WindowSnapshot, columns: Sequence[int]) -> int:
        """Copies the changed cells and returns their number. columns: the model's metrics within the snapshot."""
        cells = snapshot.cell_map
        assert cells is not None  # can_take
        if cells.window is not self._window:
            self._window = cells.window
            self._copied[:] = -1  # not even empty cells are known to be empty
        self._make_room(int(cells.rows.max(initial=-1)) + 1)
        changed = cells.changed[:, -self._length :] > self._copied[cells.rows, None]
        servers, steps = np.nonzero(changed)
        steps += snapshot.values.shape[1] - self._length
        self._copied[cells.rows] = -1  # should it break off, all is copied again
        for begin in range(0, len(servers), self._cells_at_once):
            part = slice(begin, begin + self._cells_at_once)
            self._copy(snapshot, cells.rows, servers[part], steps[part], columns=columns)
        self._copied[cells.rows] = cells.count
        self._count, self._rows, self._oldest = cells.count, cells.rows, (snapshot.last_slot + 1) % self._length
        return len(servers)

    def count_samples(self) -> tuple[IntArray, BoolArray]:
        """Two arrays (servers,) in host memory: slots of the encoder with a sample, and whether its oldest has one."""
        first = self._oldest + self._length - self._encoder
        columns = (torch.arange(self._encoder, device=self._device) + first) % self._length
        sampled = ~self._values.isnan().all(dim=2)[:, columns]  # (rows, encoder), oldest slot first
        samples, oldest = sampled.sum(dim=1).cpu().numpy(), sampled[:, 0].cpu().numpy()
        return samples[self._rows], oldest[self._rows]

    def read(self, servers: IntArray) -> tuple[Tensor, Tensor]:
        """values (servers, length, metrics) and statuses (servers, length) on the device, oldest slot first.

        servers: row indices into the snapshot.
        """
        rows = torch.from_numpy(self._rows[servers]).to(self._device)[:, None]
        steps = (torch.arange(self._length, device=self._device) + self._oldest) % self._length
        return self._values[rows, steps], self._statuses[rows, steps]

    def _make_room(self, rows: int) -> None:
        """Grows the ring by at least a sixteenth."""
        before = len(self._copied)
        if rows <= before:
            return
        more = max(rows, before + before // 16) - before
        values = self._values.new_full((more, *self._values.shape[1:]), torch.nan)
        statuses = self._statuses.new_full((more, self._length), UNKNOWN_STATUS)
        values, statuses = torch.cat([self._values, values]), torch.cat([self._statuses, statuses])
        self._values, self._statuses = values, statuses  # both, or none where there is no memory
        self._copied = np.concatenate([self._copied, np.zeros(more, dtype=np.int64)])

    def _copy(
        self, snapshot: WindowSnapshot, rows: IntArray, servers: IntArray, steps: IntArray, *, columns: Sequence[int]
    ) -> None:
        """Copies cells (servers, steps) of the snapshot into the ring. rows: window rows of all its servers."""
        slots = snapshot.last_slot + 1 - snapshot.values.shape[1] + steps
        cells, values, statuses = self._staging.send(
            rows[servers] * self._length + slots % self._length,
            snapshot.values[servers, steps][:, columns],
            snapshot.statuses[servers, steps],
            device=self._device,
        )
        self._values.view(-1, self._values.shape[2]).index_copy_(0, cells, values)
        self._statuses.view(-1).index_copy_(0, cells, statuses)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # then the staging memory may be written again


class _Staging:
    """Page-locked host memory, from which a GPU copies on its own."""

    def __init__(self, cells: int, *, metrics: int, pinned: bool) -> None:
        self._cells = torch.empty(cells, dtype=torch.int64, pin_memory=pinned)
        self._values = torch.empty(cells, metrics, pin_memory=pinned)
        self._statuses = torch.empty(cells, dtype=torch.uint8, pin_memory=pinned)

    def send(
        self, cells: IntArray, values: FloatArray, statuses: CodeArray, *, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The values on the device, once its stream gets there. Must not be called again before that."""
        pairs = ((self._cells, cells), (self._values, values), (self._statuses, statuses))
        sent = []
        for staged, array in pairs:
            part = staged[: len(array)]
            part.copy_(torch.from_numpy(array))
            sent.append(part.to(device, non_blocking=True))
        return sent[0], sent[1], sent[2]
