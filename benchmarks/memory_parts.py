"""What the memory of a running daemon is made of: its arrays and objects, walked in its own process, beside what the
kernel says is resident.

Each object counts once, with the first part of PARTS that reaches it. What is resident beyond all parts is the
interpreter, libraries and their caches, what the allocator keeps, and stacks.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import CellType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

PARTS = {
    "ingest.ring:Ring.values": "window: values",
    "ingest.ring:Ring.statuses": "window: statuses",
    "ingest.ring:Ring.sampled": "window: numbers of samples",
    "ingest.cells:MeasuredCounts": "window: counts of measured slots",
    "ingest.open_cells:OpenCells": "window: samples of open slots",
    "ingest.ring_views:RingView": "window: what views of it keep",
    "ingest.server_rows:ServerRows": "window: names and rows",
    "live.published:Live._serving.made.forecast.bands": "answer: p10, p50, p90",
    "live.published:Live._serving.made.forecast.values": "answer: further quantiles",
    "live.published:Live._serving.model": "model",
    "live.published:Live._serving": "answer: all else",
    "web.console.past_forecasts:PastForecasts": "console: past forecasts",
    "alerting.active_alerts:ActiveAlerts": "alerts",
    "quality.residuals:OneStepForecasts": "quality: next steps",
    "quality.cascade:CascadeWatch": "quality: residuals",
    "quality.accuracy_tracker:AccuracyTracker": "quality: accuracy",
    "storage.history_writer:HistoryWriter": "history",
    "storage.journal:Journal": "journal",
    "storage.archive:Archive": "archive",
    "forecast.baseline_worker:BaselineWorker": "baseline",
    "daemon:Daemon": "daemon: all else",
}
"""Where a part begins: a class, and attributes from its instances on."""

OVERHEAD = "interpreter, libraries and all else"
FREED = "freed, kept by the allocator"
_PAGE = 4096
_SAMPLE_SECONDS = 0.005
_NOT_FOLLOWED = (ModuleType, type, FrameType)
_EMPTY_CELL = CellType()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def measure_parts(daemon: Any) -> dict[str, int]:
    """Part → bytes. The last two are what is resident and in no part: what was freed and kept, and the rest."""
    gc.collect()
    resident, freed = resident_bytes(), _freed_bytes()
    roots = _find_roots(daemon)
    walk = _Walk(roots)
    sizes: dict[str, int] = {}
    for part, held in roots:
        sizes[part] = sizes.get(part, 0) + sum(walk.take(root) for root in held)
    return {**sizes, FREED: freed, OVERHEAD: resident - freed - sum(sizes.values())}


def _find_roots(daemon: Any) -> list[tuple[str, list[Any]]]:
    """By a walk: the daemon has the garbage collector forget what is there at the start."""
    objects = list(_Walk([]).reach(daemon))
    found = []
    for place, part in PARTS.items():
        module, _, path = place.partition(":")
        name, *attributes = path.split(".")
        kind = getattr(import_module(f"nordiq_watch.{module}"), name)
        held = [reduce(_attribute, attributes, one) for one in objects if type(one) is kind]
        found.append((part, [one for one in held if one is not None]))
    return found


def _attribute(owner: Any, name: str) -> Any:
    """None where there is none: an array that is not kept any more, an answer that is not there yet."""
    return getattr(owner, name, None)


class _Walk:
    """What is reached from roots, each object once; another root is where a walk ends."""

    def __init__(self, roots: list[tuple[str, list[Any]]]) -> None:
        self._begins = {id(root) for _, held in roots for root in held}
        self._seen: set[int] = set()

    def take(self, root: Any) -> int:
        """Bytes of all that no walk has reached before."""
        return sum(map(_own_bytes, self.reach(root)))

    def reach(self, root: Any) -> Iterator[Any]:
        waiting = [root]
        while waiting:
            one = waiting.pop()
            if id(one) in self._seen or isinstance(one, _NOT_FOLLOWED):
                continue
            if id(one) in self._begins and one is not root:
                continue
            self._seen.add(id(one))
            yield one
            waiting.extend(_referents(one))


def _own_bytes(one: Any) -> int:
    if isinstance(one, torch.Tensor):
        return one.untyped_storage().nbytes()
    if isinstance(one, np.ndarray):
        return one.nbytes if one.base is None else 0
    return sys.getsizeof(one)


def _referents(one: Any) -> Iterator[Any]:
    """As the garbage collector sees them, without the globals of functions: those lead everywhere."""
    if isinstance(one, FunctionType):
        yield from (cell.cell_contents for cell in one.__closure__ or () if cell != _EMPTY_CELL)
        return
    if isinstance(one, np.ndarray) and one.base is not None:
        yield one.base
    yield from gc.get_referents(one)


def _freed_bytes() -> int:
    """What the C library's allocator holds and nothing uses. Python's small objects are in arenas of their own."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return 0
    library.mallinfo2.restype = _MallocInfo
    return int(library.mallinfo2().fordblks)


class _MallocInfo(ctypes.Structure):
    """As in malloc.h."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    ]


class Peaks:
    """The highest resident memory in each stage of a tick, looked at every few milliseconds by a thread."""

    def __init__(self, stage_now: Callable[[], str | None]) -> None:
        self._stage_now = stage_now
        self._highest: dict[str, int] = {}
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            stage, resident = self._stage_now(), resident_bytes()
            if stage is not None:
                self._highest[stage] = max(resident, self._highest.get(stage, 0))
            time.sleep(_SAMPLE_SECONDS)

    def take(self) -> Mapping[str, int]:
        """Those since the last call."""
        taken, self._highest = self._highest, {}
        return taken


def write_parts(daemon: Any, file: Path) -> None:
    """Replaces the file by what the daemon is made of now."""
    fresh = file.with_suffix(".fresh")
    fresh.write_text(json.dumps(measure_parts(daemon)))
    fresh.rename(file)
