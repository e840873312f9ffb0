"""Model directories, the tensors in them, and which model made an answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Version:
    """One `tft_model_*` directory as a scan saw it.

    `fingerprint` differs as soon as the size, the modification time or the inode of any file in it differs. size_bytes:
    of all its files, extras_bytes: of extras.safetensors alone. arrived: Unix time of the last change to one of
    them or to the directory as the file system notes it (ctime), so that copying and renaming count.
    """

    name: str
    path: Path
    timestamp: str | None
    fingerprint: str
    size_bytes: int
    modified: float
    arrived: float = 0.0
    extras_bytes: int = 0


@dataclass(frozen=True, slots=True)
class IgnoredEntry:
    """An entry of the models directory that is no version but resembles one, and the rule that it breaks."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model made an answer: the version's name, its generation, the SHA-256 of its weights and of its extras."""

    name: str
    generation: int
    sha256: str
    extras_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class RawTensor:
    """One tensor of a safetensors file in memory; `data` is a view into the buffer that was read and hashed."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview
