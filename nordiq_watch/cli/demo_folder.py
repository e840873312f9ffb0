"""The demo's folder: ownership, content, and its config.yaml."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.artifact.layout import is_candidate
from nordiq_watch.cli.synthetic import METRICS, SLOTS_PER_DAY
from nordiq_watch.errors import ClientError

_MARK = "# Written by `nordiq-watch demo`, which makes this folder anew at every run."
_LOCK = ".lock"

INTERVAL_SECONDS = 5
"""So short that charts move and forecasts come due while one looks on."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The paths of one demo."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def dataset(self) -> Path:
        return self.root / "data"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def key_file(self) -> Path:
        return self.root / ".nordiq_key"

    @property
    def output(self) -> Path:
        """The daemon's output; its log is in logs/."""
        return self.root / "daemon.out"

    def versions(self) -> set[str]:
        return {path.name for path in self.models.iterdir() if is_candidate(path.name)}


@contextmanager
def own(folder: Folder) -> Iterator[None]:
    """Creates the folder and locks it against other demos. Raises ClientError if one is running there, or if it is not
    a demo's folder.
    """
    if folder.root.exists() and not _is_ours(folder):
        raise ClientError(f"{folder.root}: exists and was not made by the demo; name another folder with --dir")
    folder.root.mkdir(parents=True, exist_ok=True)
    with (folder.root / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClientError(f"{folder.root}: a demo is running there; end it or name another with --dir") from None
        yield


def prepare(folder: Folder, port: int) -> bool:
    """Writes the config and creates empty places for data and models; returns whether an earlier demo was deleted."""
    old = [path for path in folder.root.iterdir() if path.name not in (_LOCK, folder.config.name)]
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.config.write_text(_describe_config(port), encoding="utf-8")
    folder.models.mkdir()
    folder.dataset.mkdir()
    return bool(old)


def _describe_config(port: int) -> str:
    return f"""\
{_MARK}
server:
  port: {port}
window:
  interval_seconds: {INTERVAL_SECONDS}
  length: {SLOTS_PER_DAY}
metrics: [{", ".join(METRICS)}]
device: cpu
alerts:                       # this fleet lives fast
  hold_seconds: {3 * INTERVAL_SECONDS}
  clear_seconds: {3 * INTERVAL_SECONDS}
quality:
  horizons_seconds: [{INTERVAL_SECONDS}, {6 * INTERVAL_SECONDS}, {24 * INTERVAL_SECONDS}]
training:                     # small enough for two cores and one minute
  hidden_size: 16
  attention_heads: 2
  max_encoder_length: 72      # 6 minutes in
  max_prediction_length: 24   # 2 minutes out
  batch_size: 64
  max_batches_per_epoch: 80
  max_seconds: 45
"""


def _is_ours(folder: Folder) -> bool:
    """True if empty, or with a config that carries the mark: only then may the demo delete the content."""
    if not folder.root.is_dir():
        return False
    inside = {path.name for path in folder.root.iterdir()} - {_LOCK}
    return not inside or (folder.config.is_file() and folder.config.read_text(encoding="utf-8").startswith(_MARK))
