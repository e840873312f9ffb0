"""Files that survive a power cut: what these functions wrote is on the disk when they return, under its name.

A file's bytes and its name are two things to a disk: `fsync` of the file keeps the bytes, and only `fsync` of its
directory keeps the name, be it new, replaced or removed. All raise OSError as the system does.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_PLAIN_MODE = 0o666  # less what the umask takes away


def replace_file(path: Path, content: bytes, *, mode: int | None = None, owner: tuple[int, int] | None = None) -> None:
    """Writes the file in one step: it holds the old bytes or the new ones, never a mixture. A link is replaced too.

    mode: exactly this one; without it, as the umask leaves it. owner: user and group, None for those of the process.
    One process at a time may replace a file of this name.
    """
    draft = path.with_name(f".{path.name}.partial")
    draft.unlink(missing_ok=True)  # of a process that was killed
    try:
        create_file(draft, content, mode=mode, owner=owner, is_draft=True)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_file(
    path: Path, content: bytes, *, mode: int | None = None, owner: tuple[int, int] | None = None, is_draft: bool = False
) -> None:
    """Writes a file that is not there yet; FileExistsError if it is. A draft's name is left to be lost."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(path, flags, _PLAIN_MODE if mode is None else mode)
    with os.fdopen(descriptor, "wb") as file:
        if owner is not None:
            os.fchown(descriptor, *owner)
        if mode is not None:
            os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    if not is_draft:
        sync_directory(path.parent)


def append_line(path: Path, line: bytes) -> None:
    """Adds a line, with its end, to a file that may be new. A line before it that was cut short is ended first."""
    is_new = not path.exists()
    with path.open("ab+") as file:
        torn = file.tell() > 0 and _last_byte(file.fileno()) != b"\n"
        file.write((b"\n" if torn else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_directory(path.parent)


def make_directories(path: Path) -> None:
    """Makes the directory and those above it that are missing.

    FileExistsError for a file in its place, NotADirectoryError for one above it.
    """
    if path.is_dir():
        return
    if path.parent.exists() and not path.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent))
    if path.parent != path:
        make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Names in this directory that were made, replaced or removed stay as they are now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # as file systems answer on which it means nothing
            raise
    finally:
        os.close(descriptor)


def _last_byte(descriptor: int) -> bytes:
    return os.pread(descriptor, 1, os.fstat(descriptor).st_size - 1)
