"""Memory that this process may still allocate: the machine's free memory, or less if its control group limits it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUP_ROOT = Path("/sys/fs/cgroup")


def free_host_bytes(cgroup_root: Path = _CGROUP_ROOT, own_groups: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that can be allocated without swapping and without being killed."""
    return min([int(psutil.virtual_memory().available), *_left_in_groups(cgroup_root, own_groups)])


def _left_in_groups(root: Path, own_groups: Path) -> Iterator[int]:
    """Free memory under each limit above this process (control groups version 2: systemd's MemoryMax)."""
    for directory in _directories(root, own_groups):
        try:
            limit = (directory / "memory.max").read_text().strip()
            current = int((directory / "memory.current").read_text())
        except (OSError, ValueError):
            continue
        if limit != "max":
            yield max(0, int(limit) - current)


def _directories(root: Path, own_groups: Path) -> Iterator[Path]:
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if path is None:
        return
    directory = root / path.lstrip("/")
    yield from (parent for parent in (directory, *directory.parents) if parent.is_relative_to(root))
