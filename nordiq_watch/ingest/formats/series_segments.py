"""The files of a series log: a head, then records. What is in them, and how they are read after a crash.

Each record is its length and a checksum, both of 4 bytes, and a msgpack that is packed with zlib where it is long. A
record that was being written when the process was killed ends its segment: its request was not answered.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

_PACK_BYTES = 256
_FRAME_BYTES = 8
_PLAIN, _PACKED = b"\0", b"\1"


class Head(msgspec.Struct, array_like=True, frozen=True):
    """begun: Unix time. known_since: since when a translator with this log has known all that is sent to it; the window
    may have more of older slots. lost_until: the log lacks samples that came before. down: for how many seconds there
    was no daemon, since the first segment.
    """

    begun: float
    known_since: float
    lost_until: float
    down: float


class Record(msgspec.Struct, array_like=True, frozen=True):
    """at: when the request came, Unix time. newest: the latest moment that there could be then. series: numbers and
    labels (name, value, name …) of series that are new in the segment. numbers, times, values: columns of samples, as
    arrays "I", "d", "d" of this machine. kept: slots that were opened while the window had metrics of them (server,
    slot, metrics). forgotten: a server of which nothing is known from here on; empty for none. starts: of
    deltas, as a column "d" with NaN for other samples; empty without deltas. others: metrics of slots that belong to
    other routes (server, slot, metrics).
    """

    at: float
    newest: float
    series: list[tuple[int, list[bytes]]]
    numbers: bytes
    times: bytes
    values: bytes
    kept: list[tuple[str, int, list[str]]]
    forgotten: str = ""
    starts: bytes = b""
    others: list[tuple[str, int, list[str]]] = []


@dataclass(frozen=True, slots=True)
class Segment:
    """last: when its process last wrote, by the clock of then. nbytes: its size. is_whole: it ends with a record, or
    with one that was being written.
    """

    path: Path
    number: int
    head: Head
    last: float
    nbytes: int
    is_whole: bool

    def read(self) -> Iterator[Record]:
        """Its records up to the first that cannot be read. OSError."""
        for number, (body, _) in enumerate(_sound_frames(self.path.read_bytes())):
            found = _decode(body, is_head=number == 0)
            if found is None:
                return
            if isinstance(found, Record):
                yield found


def write_frame(content: Head | Record) -> bytes:
    """What stands for it in a segment."""
    plain = msgspec.msgpack.encode(content)
    body = _PACKED + zlib.compress(plain, 1) if len(plain) > _PACK_BYTES else _PLAIN + plain
    return len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body


def read_segments(directory: Path, name: str) -> Iterator[Segment]:
    """Those of a translator, oldest first, one at a time. OSError."""
    for number, path in list_segments(directory, name):
        yield _read_segment(path, number)


def list_segments(directory: Path, name: str) -> list[tuple[int, Path]]:
    """Their numbers and files, oldest first."""
    found = (path for path in directory.glob(f"{name}-*.log") if path.stem.rpartition("-")[2].isdecimal())
    return sorted((int(path.stem.rpartition("-")[2]), path) for path in found)


def _read_segment(path: Path, number: int) -> Segment:
    content, written = path.read_bytes(), path.stat().st_mtime
    head, last, place = Head(written, math.inf, math.inf, 0.0), written, 0  # of one that is damaged from its begin
    newest = b""
    for body, end in _sound_frames(content):
        if place == 0:
            if not isinstance(found := _decode(body, is_head=True), Head):
                break
            head, last = found, found.begun
        newest, place = body, end
    if newest and isinstance(record := _decode(newest, is_head=False), Record):
        last = record.at
    rest = len(content) - place
    is_cut = rest < _FRAME_BYTES or rest <= _FRAME_BYTES + int.from_bytes(content[place : place + 4], "little")
    return Segment(path, number, head, last, len(content), place > 0 and (not rest or is_cut))


def _sound_frames(content: bytes) -> Iterator[tuple[bytes, int]]:
    """What is in a segment, packed, each with the place of its end; up to the first that is damaged."""
    place = 0
    while place + _FRAME_BYTES < len(content):
        length, checksum = (int.from_bytes(content[at : at + 4], "little") for at in (place, place + 4))
        body = content[place + _FRAME_BYTES : place + _FRAME_BYTES + length]
        if not body or len(body) < length or zlib.crc32(body) != checksum:
            return
        place += _FRAME_BYTES + length
        yield body, place


def _decode(body: bytes, *, is_head: bool) -> Head | Record | None:
    """None for what cannot be read."""
    try:
        plain = zlib.decompress(body[1:]) if body[:1] == _PACKED else body[1:]
        return _heads.decode(plain) if is_head else _records.decode(plain)
    except (msgspec.MsgspecError, zlib.error):
        return None


_records = msgspec.msgpack.Decoder(Record)
_heads = msgspec.msgpack.Decoder(Head)
