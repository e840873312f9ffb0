"""The newest version of a models directory that can be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.layout import age_key, is_candidate
from nordiq_watch.artifact.manifest import BrokenManifest
from nordiq_watch.artifact.reader import HashMismatch
from nordiq_watch.artifact.weights_file import BrokenWeights
from nordiq_watch.network.checks import UnusableSpec
from nordiq_watch.network.terms.member import UnusableExtras
from nordiq_watch.network.weights import WeightsMismatch

T = TypeVar("T")

_UNUSABLE = (BrokenManifest, BrokenWeights, HashMismatch, UnusableSpec, WeightsMismatch, UnusableExtras)


def read_newest(models_dir: Path, read: Callable[[Path], T], *, report: Callable[[str], None]) -> T | None:
    """What `read` makes of the newest version that is complete and that it can read; None if there is none.

    Newer ones are passed to `report`, each with its reason. Raises OSError for failures of the file system.
    """
    if not models_dir.is_dir():
        return None
    places = [path for path in models_dir.iterdir() if path.is_dir() and not path.is_symlink()]
    names = [path.name for path in places if is_candidate(path.name)]
    for name in sorted(names, key=age_key, reverse=True):
        try:
            return _read_complete(models_dir / name, read)
        except (*_UNUSABLE, _Incomplete) as error:
            report(f"{name}: cannot be used: {error}")
    return None


class _Incomplete(ValueError):
    pass


def _read_complete(directory: Path, read: Callable[[Path], T]) -> T:
    verdict = judge(directory)
    if not verdict.complete:
        raise _Incomplete(verdict.reason or "incomplete")
    return read(directory)
