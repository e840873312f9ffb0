"""Reads a safetensors file once: the header proves its length, a single pass fills our own buffer and hashes it.

Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then the data
(https://github.com/huggingface/safetensors#format). The file is read instead of memory-mapped, because a mapped model
changes, or kills the process with SIGBUS, if the file is overwritten or truncated.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import msgspec

from nordiq_watch.artifact.files import open_regular
from nordiq_watch.artifact.foreign import explain_weights
from nordiq_watch.records.models import RawTensor

MAX_HEADER_BYTES = 32 * 2**20
_CHUNK_BYTES = 16 * 2**20
"""Small enough that hashing starts soon after reading, large enough that reader and hasher rarely wait for the GIL."""
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class BrokenWeights(ValueError):
    """The file is not a complete safetensors file; the message names it and says what was found."""


class ForeignWeights(BrokenWeights):
    """The file is in another format; no further byte makes it a safetensors file."""


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_header_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_entry_decoder = msgspec.json.Decoder(_Entry)


@dataclass(frozen=True, slots=True)
class Header:
    """raw: the bytes before the data. file_size: 8 + header length + largest data offset."""

    raw: bytes
    entries: Mapping[str, _Entry]
    file_size: int


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """All tensors of one file, views into one buffer, and the SHA-256 of the file's bytes as they were read."""

    tensors: Mapping[str, RawTensor]
    sha256: str
    size_bytes: int


def check_length(path: Path) -> None:
    """Proves that the file is as long as its header says, without reading the data. Raises BrokenWeights, OSError."""
    with _naming(path), open_regular(path) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # what is read ahead no longer counts as a hole
        _check_size(file, _read_header(file))


def find_hole(path: Path) -> int | None:
    """Offset of the first byte that was never written, if the file already has its full length: it was preallocated.

    None for a file without a hole, and on file systems that cannot tell. Raises OSError.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            begin = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENXIO, errno.EOPNOTSUPP):
                return None
            raise
    return begin if begin < size else None


def read_weights(path: Path) -> WeightsFile:
    """Reads, checks and hashes the file in one pass. Raises BrokenWeights, OSError, MemoryError.

    The size is compared before the buffer is allocated, so a broken file costs no memory.
    """
    with _naming(path), open_regular(path) as file:
        header = _read_header(file)
        _check_size(file, header)
        digest = hashlib.sha256(header.raw)
        view = _take_memory(header.file_size - len(header.raw))
        _fill(view, file, digest)
    tensors = {
        name: RawTensor(entry.dtype, entry.shape, view[entry.data_offsets[0] : entry.data_offsets[1]])
        for name, entry in header.entries.items()
    }
    return WeightsFile(tensors=tensors, sha256=digest.hexdigest(), size_bytes=header.file_size)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenWeights as error:
        raise type(error)(f"{path.name} {error}") from None


def _take_memory(size: int) -> memoryview:
    """A buffer on its own pages, returned to the system as soon as the last tensor in it is gone.

    numpy's own allocation asks for huge pages: on virtual machines that lend free memory to their host, touching 245 MB
    of them took 0.6 s instead of 0.15.
    """
    try:
        pages = mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size:,} bytes for its weights: {error.strerror}") from None
    return memoryview(pages)[:size]


def _read_header(file: BinaryIO) -> Header:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise BrokenWeights(f"has {len(prefix)} bytes, too short for a safetensors header")
    length = int.from_bytes(prefix, "little")
    if (foreign := explain_weights(prefix)) is not None:
        raise ForeignWeights(foreign)
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise BrokenWeights(f"starts with a header length of {length:,} bytes: not a safetensors file")
    body = file.read(length)
    if len(body) < length:
        raise BrokenWeights(f"has {8 + len(body):,} bytes, its header alone needs {8 + length:,}")
    entries = _parse_entries(body)
    end = max((entry.data_offsets[1] for entry in entries.values()), default=0)
    return Header(raw=prefix + body, entries=entries, file_size=8 + length + end)


def _parse_entries(body: bytes) -> dict[str, _Entry]:
    try:
        parsed = _header_decoder.decode(body)
        parsed.pop("__metadata__", None)
        entries = {name: _entry_decoder.decode(raw) for name, raw in parsed.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BrokenWeights(f"has a header that cannot be read ({error})") from None
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        _check_entry(name, entry, position)
        position = entry.data_offsets[1]
    return entries


def _check_entry(name: str, entry: _Entry, position: int) -> None:
    begin, end = entry.data_offsets
    width = _DTYPE_BYTES.get(entry.dtype)
    if width is None:
        raise BrokenWeights(f"holds tensor {name} of the unsupported type {entry.dtype}")
    if begin != position or any(size < 0 for size in entry.shape) or end - begin != prod(entry.shape) * width:
        raise BrokenWeights(f"gives tensor {name} offsets {begin}..{end} that do not fit its shape {list(entry.shape)}")


def _check_size(file: BinaryIO, header: Header) -> None:
    size = os.fstat(file.fileno()).st_size
    if size != header.file_size:
        raise BrokenWeights(f"has {size:,} bytes, its header says {header.file_size:,}")


def _fill(buffer: memoryview, file: BinaryIO, digest: hashlib._Hash) -> None:
    """Reads chunk by chunk; a second thread hashes each chunk while the next one is read."""
    with ThreadPoolExecutor(1, thread_name_prefix="hash") as hashing:
        for begin in range(0, len(buffer), _CHUNK_BYTES):
            chunk = buffer[begin : begin + _CHUNK_BYTES]
            filled = 0
            while filled < len(chunk):
                count = file.readinto(chunk[filled:])  # type: ignore[attr-defined]
                if not count:
                    raise BrokenWeights(f"became shorter while it was read, at byte {begin + filled:,} of its data")
                filled += count
            try:
                hashing.submit(digest.update, chunk)
            except RuntimeError as error:
                raise MemoryError(f"to hash it, a thread is needed: {error}") from None
