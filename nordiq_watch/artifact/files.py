"""Opens files of a model directory: regular files only, never through links, never more bytes than expected."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_JSON_BYTES = 64 * 2**20


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading. Raises OSError for a link, a pipe, a device or a missing file; never blocks on
    one.

    The directory must not be a link either: a version could be replaced by one after it was seen.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        return os.fdopen(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_bounded(path: Path, limit: int = MAX_JSON_BYTES) -> bytes:
    """The bytes of a small file. OSError with EFBIG if there are more than `limit`."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"is larger than {limit:,} bytes", str(path))
        content = bytearray()
        while chunk := file.read(min(size, limit - len(content)) + 1):  # `read` takes memory for all that it may get
            content += chunk
        return bytes(content)
