"""Decides whether a directory is a complete model. Cheap: JSON files are parsed, of the weights only the header is
read.

Every writer passes through states that look finished from outside, so the directory has to prove itself: a truncated
JSON file never parses, a safetensors header states the file's length, and the file system knows which parts of a
preallocated file were never written. What these cannot prove (a file overwritten in place has the right length all
along) is proven by the SHA-256 in training_info.json while the weights are read or, without one, by not changing for
`watch.settle_seconds`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nordiq_watch.artifact.layout import (
    CONFIG_FILE,
    EXTRAS_FILE,
    INFO_FILE,
    MAPPING_FILE,
    REQUIRED_FILES,
    WEIGHTS_FILE,
    required_files,
    tensor_files,
)
from nordiq_watch.artifact.manifest import BrokenManifest, UnknownFormat, read_info, read_mapping, read_spec
from nordiq_watch.artifact.weights_file import BrokenWeights, ForeignWeights, check_length, find_hole

T = TypeVar("T")

_NOT_A_FILE = {errno.ELOOP: "is a symbolic link", errno.EINVAL: "is not a regular file", errno.ENOENT: "is missing"}


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether a directory is a complete model.

    proven: it carries the SHA-256 of its files, so it need not settle. unreadable: the machine failed: unknown.
    """

    complete: bool
    proven: bool = False
    unreadable: bool = False
    reason: str | None = None


class _Unfinished(Exception):
    """The directory is not a complete model; the message says what was found."""


def judge(directory: Path) -> Completeness:
    """Examines the directory's present state. `proven` means that it carries a hash of each required file.

    Raises OSError for failures of the file system (EIO, EMFILE, permissions …), which say nothing about the model.
    """
    try:
        return Completeness(complete=True, proven=_prove(directory))
    except _Unfinished as error:
        return Completeness(complete=False, reason=str(error))


def _prove(directory: Path) -> bool:
    """Whether the complete directory is proven by hashes. Raises _Unfinished."""
    _check_presence(directory, REQUIRED_FILES)
    _check_length(directory, WEIGHTS_FILE)
    spec = _parse(CONFIG_FILE, lambda: read_spec(directory))
    if spec is not None and spec.extras is not None:
        _check_presence(directory, (EXTRAS_FILE,))
        _check_length(directory, EXTRAS_FILE)
    _parse(MAPPING_FILE, lambda: read_mapping(directory))
    info = _parse(INFO_FILE, lambda: read_info(directory))
    if info is not None and all(name in info.sha256 for name in required_files(spec)):
        return True
    for name in tensor_files(spec):
        _check_holes(directory, name)
    return False


def _check_presence(directory: Path, names: Iterable[str]) -> None:
    missing = [name for name in names if not (directory / name).exists()]
    if missing:
        raise _Unfinished(f"{', '.join(missing)} missing")


def _check_length(directory: Path, name: str) -> None:
    try:
        check_length(directory / name)
    except ForeignWeights:
        return  # whole, but not ours to serve; the reload says so
    except BrokenWeights as error:
        raise _Unfinished(str(error)) from None
    except OSError as error:
        raise _Unfinished(f"{name} {_explain(error)}") from None


def _parse(file_name: str, read: Callable[[], T]) -> T | None:
    """None for a format that this program does not know: whole, but not ours to serve; the reload says so."""
    try:
        return read()
    except UnknownFormat:
        return None
    except BrokenManifest as error:
        raise _Unfinished(str(error)) from None
    except OSError as error:
        raise _Unfinished(f"{file_name} {_explain(error)}") from None


def _check_holes(directory: Path, name: str) -> None:
    """Only used without hashes: a sparse copy of complete weights is rare but complete."""
    hole = find_hole(directory / name)
    if hole is not None:
        raise _Unfinished(f"{name} is not written from byte {hole:,} on (if it is a sparse copy: `cp --sparse=never`)")


def _explain(error: OSError) -> str:
    """Describes what an OSError means for the directory; raises it again if it says nothing about the directory."""
    if error.errno not in _NOT_A_FILE and error.errno != errno.EFBIG:
        raise error
    return _NOT_A_FILE.get(error.errno, error.strerror or "cannot be read")
