"""Which versions there are. A scan looks at names and sizes only; no path from outside is ever opened."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import threading
from pathlib import Path

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.layout import INFO_FILE, REQUIRED_FILES, SIGNATURE_FILE, age_key, is_candidate, timestamp_of
from nordiq_watch.errors import RequestError, StorageError
from nordiq_watch.records import Verdict, Version

log = logging.getLogger(__name__)

_MODEL_FILES = (*REQUIRED_FILES, INFO_FILE, SIGNATURE_FILE)
_UNREADABLE = "unreadable"
"""The fingerprint of a directory that is there, but that the file system says nothing about at the moment."""


class Catalogue:
    """The versions under one models directory. Safe from any thread; remembers only which are whole."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self._whole: dict[str, tuple[str, Verdict]] = {}
        self._lock = threading.Lock()

    def scan(self) -> tuple[Version, ...]:
        """All versions, newest first. A models directory that is missing holds none: that is not an error here.

        StorageError if it is there and cannot be listed: then nobody knows what it holds.
        """
        try:
            names = [path.name for path in self.models_dir.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise StorageError(f"{self.models_dir.name}/ cannot be listed ({error.strerror})") from None
        versions = [version for name in names if is_candidate(name) and (version := self._look_at(name))]
        return tuple(sorted(versions, key=lambda version: age_key(version.name), reverse=True))

    def find(self, name: str) -> Version | None:
        """The version of this name, if there is one now. StorageError as for `scan`."""
        return next((version for version in self.scan() if version.name == name), None)

    def judge(self, version: Version) -> Verdict:
        """Whether the version is complete; a machine that fails is a reason, not an error."""
        if version.fingerprint == _UNREADABLE:
            return Verdict(complete=False, unreadable=True, reason="cannot be looked at now")
        with self._lock:
            fingerprint, verdict = self._whole.get(version.name, ("", None))
        if verdict is not None and fingerprint == version.fingerprint:
            return verdict
        try:
            verdict = judge(version.path)
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or "not enough memory"
            return Verdict(complete=False, unreadable=True, reason=f"cannot be read now ({why})")
        if verdict.complete:
            with self._lock:
                self._whole[version.name] = (version.fingerprint, verdict)
        return verdict

    def resolve(self, text: str) -> str:
        """The version name in what a client sent: NAME or models/NAME. RequestError for all else; opens nothing."""
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
        """How users see a version: models/NAME, never the path on this host."""
        return f"{self.models_dir.name}/{name}"

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
        seen = [(file, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for file, s in files]
        return Version(
            name=name,
            path=path,
            timestamp=timestamp_of(name),
            fingerprint=hashlib.sha256(repr(seen).encode()).hexdigest()[:32],
            size_bytes=sum(status.st_size for _, status in files),
            modified=max([status.st_mtime for _, status in files], default=own.st_mtime),
        )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
