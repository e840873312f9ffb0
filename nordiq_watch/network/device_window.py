"""What one model reads of the window, kept on its device: of a snapshot, only the cells that changed are copied there.

A ring of the encoder's length: cell (row, slot % length), with the rows of the daemon's window. A snapshot's `places`
say when each cell was written or cleared last, and this remembers up to when each row was copied. So a new sample, a
late one, a new slot, a server that is heard again and a row that has got another server are all the same to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records import BoolArray, CodeArray, FloatArray, IntArray, WindowSnapshot

_CELLS_AT_ONCE = 32_768
"""A slot of a large fleet; of 14 metrics 2 MB."""


class DeviceWindow:
    """One thread at a time. First `take`, then what is read is as that snapshot is."""

    def __init__(self, *, length: int, metrics: int, device: str, cells_at_once: int = _CELLS_AT_ONCE) -> None:
        """length: of the encoder. metrics: how many the model reads. cells_at_once: how many one copy takes along."""
        self._length = length
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
        """Whether it says what changed and is no older than the last one."""
        places = snapshot.places
        if places is None or snapshot.values.shape[1] < self._length:
            return False
        return places.window is not self._window or places.count >= self._count

    def take(self, snapshot: WindowSnapshot, columns: Sequence[int]) -> int:
        """Copies what changed; returns how many cells that were. columns: of the model's metrics in the snapshot."""
        places = snapshot.places
        assert places is not None  # can_take
        if places.window is not self._window:
            self._window = places.window
            self._copied[:] = -1  # not even empty cells are known to be empty
        self._make_room(int(places.rows.max(initial=-1)) + 1)
        changed = places.changed[:, -self._length :] > self._copied[places.rows, None]
        servers, steps = np.nonzero(changed)
        steps += snapshot.values.shape[1] - self._length
        self._copied[places.rows] = -1  # should it break off, all is copied again
        for begin in range(0, len(servers), self._cells_at_once):
            part = slice(begin, begin + self._cells_at_once)
            self._copy(snapshot, places.rows, servers[part], steps[part], columns=columns)
        self._copied[places.rows] = places.count
        self._count, self._rows, self._oldest = places.count, places.rows, (snapshot.last_slot + 1) % self._length
        return len(servers)

    def count_samples(self) -> tuple[IntArray, BoolArray]:
        """(servers,) each: how many slots have a sample, and whether the oldest one has. In host memory."""
        sampled = ~self._values.isnan().all(dim=2)  # (rows, length)
        samples, oldest = sampled.sum(dim=1).cpu().numpy(), sampled[:, self._oldest].cpu().numpy()
        return samples[self._rows], oldest[self._rows]

    def read(self, servers: IntArray) -> tuple[Tensor, Tensor]:
        """values (servers, length, metrics) and statuses (servers, length) on the device, the oldest slot first.

        servers: rows of the snapshot.
        """
        rows = torch.from_numpy(self._rows[servers]).to(self._device)[:, None]
        steps = (torch.arange(self._length, device=self._device) + self._oldest) % self._length
        return self._values[rows, steps], self._statuses[rows, steps]

    def _make_room(self, rows: int) -> None:
        """Grows by a sixteenth at least."""
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
        """Some cells of the snapshot, (servers, steps), to the ring. rows: of all its servers."""
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
    """Host memory that a GPU copies from by itself: page-locked."""

    def __init__(self, cells: int, *, metrics: int, pinned: bool) -> None:
        self._cells = torch.empty(cells, dtype=torch.int64, pin_memory=pinned)
        self._values = torch.empty(cells, metrics, pin_memory=pinned)
        self._statuses = torch.empty(cells, dtype=torch.uint8, pin_memory=pinned)

    def send(
        self, cells: IntArray, values: FloatArray, statuses: CodeArray, *, device: torch.device
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same on the device, once its stream is there. Until then nobody may call this again."""
        pairs = ((self._cells, cells), (self._values, values), (self._statuses, statuses))
        sent = []
        for staged, array in pairs:
            part = staged[: len(array)]
            part.copy_(torch.from_numpy(array))
            sent.append(part.to(device, non_blocking=True))
        return sent[0], sent[1], sent[2]
