"""Model directories from Python."""

from __future__ import annotations

import os
from pathlib import Path

from nordiq_watch.live.servable import Servable
from nordiq_watch.network.predictor import resolve_device
from nordiq_watch.reload.named_version import load_version, version_at


def load_model(directory: str | os.PathLike[str], *, device: str) -> Servable:
    """The version in this directory, on a device: auto, cpu, cuda or cuda:N.

    Raises ConfigError for what is no directory and for a GPU that is not there, and ModelRejected.
    """
    where = resolve_device(device)
    model = load_version(version_at(Path(directory)))
    return model if where == "cpu" else model.on(where)
