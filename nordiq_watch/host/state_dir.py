"""The state directory belongs to one daemon: of two, each would empty the journal of what only the other has seen."""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from nordiq_watch.atomic_file import make_directories, sync_directory
from nordiq_watch.errors import ConfigError

_LOCK = "daemon.lock"


def claim_state_dir(path: Path) -> IO[bytes] | None:
    """A lock on the directory, for as long as the file is open. ConfigError if another daemon has it.

    None where no lock can be had: a directory that cannot be written stops no daemon, its files are tried again later.
    """
    try:
        make_directories(path)
        lock = (path / _LOCK).open("ab")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"state.dir {path} is in use by another daemon. Stop that one, or give this one a directory of its own."
        ) from None
    except OSError:
        return None
    with suppress(OSError):  # the lock holds in any case
        sync_directory(path)
    return lock
