"""The files that make systemd run the program: their places and their content.

The shipped files refer to the program and its data as `SHIPPED_PROGRAM` and `SHIPPED_DATA`; systemd accepts them
unchanged, and other installations substitute their own paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from nordiq_watch.atomic_file import make_directories, replace_file
from nordiq_watch.errors import ConfigError

SHIPPED_PROGRAM = "/opt/nordiq-watch/.venv/bin/nordiq-watch"
SHIPPED_DATA = "/var/lib/nordiq-watch"
KEYS = "/etc/nordiq-watch/keys"

_UNITS = "/etc/systemd/system"
_ELSEWHERE = {"sysusers.d": "/etc/sysusers.d", "tmpfiles.d": "/etc/tmpfiles.d"}
_FOR_A_GPU = "nordiq-watch.service.d/gpu.conf"
_TRAINING_TOO = "nordiq-watch-train.service.d/gpu.conf"
_HIDDEN = ("/home", "/root", "/run/user")  # by ProtectHome=
_PLAIN = re.compile(r"/[A-Za-z0-9._+/-]*")  # systemd reads these characters as they are, without quotes

_AS_MODULE = " -m nordiq_watch"

State = Literal["new", "unchanged", "differs"]


def plan_units(shipped: Mapping[str, str], *, program: str, data_dir: str, gpu: bool) -> dict[str, str]:
    """Target path → content. shipped: path below `systemd/` → text. program: an absolute path, or a Python's path and
    `-m nordiq_watch`.

    Without `gpu`, its drop-ins are left out, because they take effect by being there. Raises ConfigError for a path
    that a unit file cannot hold.
    """
    for path in (program.removesuffix(_AS_MODULE), data_dir):
        if not _PLAIN.fullmatch(path):
            raise ConfigError(
                f"{path!r} cannot be named in a unit file: it must be absolute, of letters, digits and ._+-"
            )
    files = {name: text for name, text in shipped.items() if gpu or name != _FOR_A_GPU}
    if gpu:
        files[_TRAINING_TOO] = files[_FOR_A_GPU]
    return {
        _place(name): text.replace(SHIPPED_PROGRAM, program).replace(SHIPPED_DATA, data_dir.rstrip("/"))
        for name, text in files.items()
    }


def below(prefix: Path, path: str) -> Path:
    """The path of an absolute path while its system is mounted at `prefix`."""
    return prefix / path.lstrip("/")


def compare(path: Path, text: str) -> State:
    """Compares the file at `path` with its intended content. Raises OSError if it cannot be read."""
    try:
        return "unchanged" if path.read_bytes() == text.encode() else "differs"
    except FileNotFoundError:
        return "new"


def write_whole(path: Path, text: str, *, mode: int) -> None:
    """Writes the file atomically, replacing what is there, even a link. Raises OSError."""
    make_directories(path.parent)
    replace_file(path, text.encode(), mode=mode)


def out_of_sight(*paths: Path) -> list[Path]:
    """Those of the paths that are hidden from a unit with ProtectHome=, directly or through links."""
    seen = [path for path in paths if any(_is_below(place, _HIDDEN) for place in (path, path.resolve()))]
    return list(dict.fromkeys(seen))


def _is_below(path: Path, places: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _place(name: str) -> str:
    folder, _, rest = name.partition("/")
    return f"{_ELSEWHERE[folder]}/{rest}" if folder in _ELSEWHERE else f"{_UNITS}/{name}"
