"""Files that survive a power cut: on return from these functions, content and name are on the disk.

To a disk, a file's content and its name are two things: `fsync` of the file keeps the content, only `fsync` of its
directory keeps the name, whether new, replaced or removed. All functions raise OSError.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_PLAIN_MODE = 0o666  # less what the umask takes away


def replace_file(path: Path, content: bytes, *, mode: int | None = None, owner: tuple[int, int] | None = None) -> None:
    """Writes the file atomically: it holds the old bytes or the new ones, never a mixture. A link is replaced too.

    mode: exactly this mode; by default it follows the umask. owner: user and group, None for those of the process. Only
    one process at a time may replace a file of this name.
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
    """Creates a file; FileExistsError if it exists. A leftover draft of a killed process is overwritten."""
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
    """Appends a line with its newline to a file, which may be new. Completes a torn line before it with a newline."""
    is_new = not path.exists()
    with open(path, "ab+", opener=open_regular) as file:
        torn = file.tell() > 0 and _last_byte(file.fileno()) != b"\n"
        file.write((b"\n" if torn else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_directory(path.parent)


def open_regular(path: str | Path, flags: int, *, mode: int = _PLAIN_MODE) -> int:
    """As `os.open`, and an `opener` for `open`. OSError for what is not a regular file: opening a pipe would wait for
    its other end.
    """
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a pipe without a reader, or a socket
            raise
    else:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    raise OSError(errno.EINVAL, "Not a regular file", str(path))


def make_directories(path: Path) -> None:
    """Creates the directory and its missing parents.

    FileExistsError if a file is in its place, NotADirectoryError if one is in a parent's place.
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
    """Makes created, replaced and removed names in this directory durable."""
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
