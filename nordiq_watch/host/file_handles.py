"""The number of files this process may have open."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

WANTED_FILES = 4096
_FEW_FILES = 1024
"""Below this number, connections are limited by it."""

_UNLIMITED = 1 << 20


def count_allowed_files() -> int:
    """The soft limit in force."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


def raise_file_limit(*, wanted: int = WANTED_FILES) -> int:
    """Raises the soft limit to `wanted` if it is lower and the hard limit allows it. Returns the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    allowed = count_allowed_files()
    if allowed < _FEW_FILES:
        log.warning(
            "only %d files may be open at the same time: fewer connections are taken. "
            "Raise the limit (ulimit -n, LimitNOFILE= of a unit) to %d or more.",
            allowed,
            _FEW_FILES,
        )
    return allowed
