"""Lists the versions. A scan reads names and sizes only; no path from outside is ever opened."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

from nordiq_watch.artifact.completeness import Completeness, judge
from nordiq_watch.artifact.layout import (
    EXTRAS_FILE,
    INFO_FILE,
    REQUIRED_FILES,
    SIGNATURE_FILE,
    age_key,
    is_candidate,
    is_left_alone,
    looks_like_version,
    timestamp_of,
)
from nordiq_watch.errors import RequestError, StorageError
from nordiq_watch.records.models import IgnoredEntry, Version

log = logging.getLogger(__name__)

_MODEL_FILES = (*REQUIRED_FILES, EXTRAS_FILE, INFO_FILE, SIGNATURE_FILE)
NAME_RULE = "tft_model_YYYYMMDD_HHMMSS (in UTC), or tft_model_ and letters, digits, `_`, `.`, `-`"

_UNREADABLE = "unreadable"
"""Fingerprint of a directory that exists but cannot be read at the moment."""


class Catalogue:
    """The versions under one models directory. Thread-safe; remembers only which are complete."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self._whole: dict[str, tuple[str, Completeness]] = {}
        self._lock = threading.Lock()

    def scan(self) -> tuple[Version, ...]:
        """All versions, newest first. A missing models directory holds none: that is not an error here.

        Raises StorageError if the directory exists but cannot be listed.
        """
        return self._find_versions(self._names())

    def look(self) -> tuple[tuple[Version, ...], tuple[IgnoredEntry, ...]]:
        """As `scan`, and what is no version and may have been meant as one, by name: both of one listing."""
        names = self._names()
        found = ((name, self._why_ignored(name)) for name in sorted(names))
        ignored = tuple(IgnoredEntry(name, reason) for name, reason in found if reason is not None)
        return self._find_versions(names), ignored

    def find(self, name: str) -> Version | None:
        """The version of this name, if it exists now. Raises StorageError like `scan`."""
        return next((version for version in self.scan() if version.name == name), None)

    def judge(self, version: Version) -> Completeness:
        """Whether the version is complete; a failure of the machine becomes a reason, not an error."""
        if version.fingerprint == _UNREADABLE:
            return Completeness(complete=False, unreadable=True, reason="cannot be looked at now")
        with self._lock:
            fingerprint, verdict = self._whole.get(version.name, ("", None))
        if verdict is not None and fingerprint == version.fingerprint:
            return verdict
        try:
            verdict = judge(version.path)
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or "not enough memory"
            return Completeness(complete=False, unreadable=True, reason=f"cannot be read now ({why})")
        if verdict.complete:
            with self._lock:
                self._whole[version.name] = (version.fingerprint, verdict)
        return verdict

    def resolve(self, text: str) -> str:
        """The version name in a client's input: NAME or models/NAME. RequestError for anything else; opens nothing."""
        name = text.removeprefix(f"{self.models_dir.name}/").removesuffix("/")
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", name) or not is_candidate(name):
            raise RequestError(
                f"model_path {text!r:.100} is not a version in the models directory. Send "
                f"{self.models_dir.name}/tft_model_YYYYMMDD_HHMMSS or the name alone."
            )
        if (self.models_dir / name).is_symlink():
            raise RequestError(f"{name} is a symbolic link; only real directories are loaded.")
        return name

    def shown(self, name: str) -> str:
        """The version as shown to users: models/NAME, never the path on this host."""
        return f"{self.models_dir.name}/{name}"

    def _find_versions(self, names: Sequence[str]) -> tuple[Version, ...]:
        versions = [version for name in names if is_candidate(name) and (version := self._look_at(name))]
        return tuple(sorted(versions, key=lambda version: age_key(version.name), reverse=True))

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self.models_dir.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(f"{self.models_dir.name}/ cannot be listed ({error.strerror})") from None

    def _why_ignored(self, name: str) -> str | None:
        """None for a version, and for what is left alone on purpose."""
        if is_left_alone(name):
            return None
        try:
            mode = (self.models_dir / name).lstat().st_mode
        except OSError:
            return None
        if stat.S_ISLNK(mode):
            return "it is a link, and only real directories are loaded: copy or move the directory itself here"
        if not stat.S_ISDIR(mode):
            return "it is a file, and a version is a directory: unpack it" if looks_like_version(name) else None
        return None if is_candidate(name) else f"its name is no version's: call it {NAME_RULE}"

    def _look_at(self, name: str) -> Version | None:
        path = self.models_dir / name
        try:
            own = path.lstat()
            if not stat.S_ISDIR(own.st_mode):
                return None
            files = [(file, status) for file in _MODEL_FILES if (status := _stat(path / file))]
        except (FileNotFoundError, NotADirectoryError):
            return None  # it went away between the listing and here
        except OSError:
            return Version(name, path, timestamp_of(name), fingerprint=_UNREADABLE, size_bytes=0, modified=0.0)
        statuses = [own, *(status for _, status in files)]
        seen = [(file, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for file, s in files]
        return Version(
            name=name,
            path=path,
            timestamp=timestamp_of(name),
            fingerprint=hashlib.sha256(repr(seen).encode()).hexdigest()[:32],
            size_bytes=sum(status.st_size for _, status in files),
            extras_bytes=sum(status.st_size for file, status in files if file == EXTRAS_FILE),
            arrived=max(status.st_ctime for status in statuses),
            modified=max([status.st_mtime for _, status in files], default=own.st_mtime),
        )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
