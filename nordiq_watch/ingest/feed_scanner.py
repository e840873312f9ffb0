"""Plain JSON of the feed becomes columns in C++ (`kernel/scan.cpp`), where a compiler was at hand at the installation.

It reads the bodies that collectors nearly always send: known fields, each once, texts without escapes. Any other body
is left to `rows`, which words what is wrong. What the scanner accepts is what `rows` would have made of it.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from nordiq_watch.ingest.columns import Coded, Columns, SoundValues
from nordiq_watch.ingest.fields import OWN_FIELDS, Range

log = logging.getLogger(__name__)

DIRECTORY = Path(__file__).parent
"""Where an installation puts the library."""

_VERSION = 2  # kVersion of kernel/scan.cpp
_FREE_FROM_BYTES = 64 * 1024
"""Longer bodies are scanned without the interpreter's lock; with short ones, giving it away takes longer."""
_NO_ROOM = -2
_SHORTEST_RECORD = 32
_READ_STAMP = msgspec.json.Decoder(str | int | float).decode
_READ_LABEL = msgspec.json.Decoder(str).decode
_POINTER = ctypes.c_void_p


class _Scan(ctypes.Structure):
    """The struct of kernel/scan.h."""

    _fields_: ClassVar = [
        ("body", ctypes.c_char_p),
        ("length", ctypes.c_int64),
        ("fields", ctypes.c_char_p),
        ("field_lengths", _POINTER),
        ("metrics", ctypes.c_int64),
        ("bounds", _POINTER),
        ("capacity", ctypes.c_int64),
        *((name, _POINTER) for name in ("values", "kept", "clips", "stamp_codes", "status_codes", "profile_codes")),
        *((name, _POINTER) for name in ("stamps", "statuses", "profiles", "names")),
        *((name, ctypes.c_int64) for name in ("different_stamps", "different_statuses", "different_profiles")),
        *((name, ctypes.c_int64) for name in ("names_length", "faults")),
    ]


class FeedScanner:
    """Reads bodies with these metrics. From any thread."""

    def __init__(self, metrics: Sequence[str], libraries: tuple[ctypes.CDLL, ctypes.CDLL]) -> None:
        """libraries: as `load_scanner` returns them."""
        fields = [name.encode("utf-8", "surrogatepass") for name in (*OWN_FIELDS, *metrics)]
        ranges = [Range.of(name) for name in metrics]
        self._metrics = len(metrics)
        self._fields = b"".join(fields)
        self._lengths = np.array([len(field) for field in fields], dtype=np.int64)
        ends = [(one.low, one.high, one.accepted_low, one.accepted_high) for one in ranges]
        self._bounds = np.array(ends, dtype=np.float64).T.copy()
        self._given = (self._fields, self._lengths.ctypes.data, self._metrics, self._bounds.ctypes.data)
        self._hold, self._free = libraries

    def scan(self, body: bytes, *, most: int) -> Columns | None:
        """The records of a plain body; None for any other body, and for more than `most` records."""
        capacity = min(most, 2 * len(body) // max(_SHORTEST_RECORD, body.find(b"}")) + 1)
        rows, scan, memory = self._scan(body, capacity)
        if rows == _NO_ROOM and capacity < most:
            rows, scan, memory = self._scan(body, min(most, body.count(b"}")))
        if rows < 1:
            return None
        try:
            return self._gather(body, scan, memory, rows)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _scan(self, body: bytes, capacity: int) -> tuple[int, _Scan, _Memory]:
        memory = _Memory(capacity, self._metrics, len(body))
        scan = _Scan(body, len(body), *self._given, capacity, *memory.addresses)
        library = self._hold if len(body) < _FREE_FROM_BYTES else self._free
        return library.nordiq_scan(ctypes.byref(scan)), scan, memory

    def _gather(self, body: bytes, scan: _Scan, memory: _Memory, rows: int) -> Columns:
        def decode(spans: str, different: int, read: Callable[[bytes], Any]) -> tuple[Any, ...]:
            found = memory.view(spans, np.int64, (different, 2)).tolist()
            return tuple(read(body[begin:end]) for begin, end in found)

        stamps = decode("stamps", scan.different_stamps, _READ_STAMP)
        statuses = decode("statuses", scan.different_statuses, _READ_LABEL)
        profiles = decode("profiles", scan.different_profiles, _READ_LABEL)
        table, column = (rows, self._metrics), (rows,)
        sound = None
        if not scan.faults:
            sound = SoundValues(memory.view("kept", np.float32, table), memory.view("clips", np.int64, (rows, 2)))
        return Columns(
            indices=range(rows),
            names=str(memory.view("names", np.uint8, (scan.names_length,)).data, "utf-8").split("\n"),
            timestamps=Coded(stamps, memory.view("stamp_codes", np.int64, column)),
            statuses=Coded((*statuses, None), memory.view("status_codes", np.int64, column)),  # -1 is the last one
            profiles=Coded((*profiles, None), memory.view("profile_codes", np.int64, column)),
            values=memory.view("values", np.float64, table),
            sound=sound,
        )


class _Memory:
    """One piece of memory for all columns of `capacity` rows. Pages that are not written to are never there."""

    def __init__(self, capacity: int, metrics: int, text_bytes: int) -> None:
        sizes = {
            "values": 8 * capacity * metrics,
            "kept": 4 * capacity * (metrics + metrics % 2),
            "clips": 16 * capacity,
            **dict.fromkeys(("stamp_codes", "status_codes", "profile_codes"), 8 * capacity),
            **dict.fromkeys(("stamps", "statuses", "profiles"), 16 * capacity),
            "names": text_bytes,
        }
        self._offsets = {}
        end = 0
        for name, size in sizes.items():
            self._offsets[name] = end
            end += size
        self._bytes = np.empty(end, dtype=np.uint8)
        begin = self._bytes.ctypes.data
        self.addresses = tuple(begin + offset for offset in self._offsets.values())

    def view(self, name: str, kind: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        return np.ndarray(shape, kind, self._bytes, self._offsets[name])


@cache
def load_scanner(directory: Path = DIRECTORY) -> tuple[ctypes.CDLL, ctypes.CDLL] | None:
    """The library, called with the interpreter's lock and without it; None, with a log line, where there is none."""
    found = sorted(directory.glob("_native*.so"))
    if not found:
        log.info("no native scanner is built: feeds are read by msgspec. Install again with a C++ compiler at hand.")
        return None
    try:
        libraries = ctypes.PyDLL(str(found[0])), ctypes.CDLL(str(found[0]))
        _check(libraries[1])
    except OSError as error:
        log.warning("the native scanner cannot be loaded (%s): feeds are read by msgspec", error)
        return None
    for library in libraries:
        library.nordiq_scan.restype = ctypes.c_int64
        library.nordiq_scan.argtypes = [ctypes.c_void_p]
    return libraries


def _check(library: ctypes.CDLL) -> None:
    """Raises OSError if the library was built from other sources."""
    names = ("nordiq_scan", "nordiq_scan_version", "nordiq_scan_size")
    is_ours = all(hasattr(library, name) for name in names) and library.nordiq_scan_version() == _VERSION
    if not is_ours or library.nordiq_scan_size() != ctypes.sizeof(_Scan):
        raise OSError("it was built from another version of ingest/kernel")
