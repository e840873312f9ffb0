"""Creates or refuses the directory for model versions before anything else starts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nordiq_watch.atomic_file import make_directories
from nordiq_watch.errors import ConfigError


def prepare_models_dir(path: Path, *, allow_world_writable: bool = False) -> None:
    """Creates the models directory if missing. Raises ConfigError if it is a file, cannot be created or read, or is
    writable for every user of this machine: write access there means control of the forecasts.
    """
    try:
        make_directories(path)
    except FileExistsError:
        if not path.exists():
            raise ConfigError(f"models.dir {path} cannot be made (Not a directory). Name another.") from None
        raise ConfigError(f"models.dir {path} is a file. Name a directory, or move the file away.") from None
    except OSError as error:
        raise ConfigError(f"models.dir {path} cannot be made ({error.strerror}). Make it, or name another.") from None
    if not os.access(path, os.R_OK | os.X_OK):
        raise ConfigError(f"models.dir {path} cannot be read by this user. Change its permissions.")
    if path.stat().st_mode & stat.S_IWOTH and not allow_world_writable:
        raise ConfigError(
            f"models.dir {path} can be written by every user of this machine, and so what the daemon says. Run "
            f"`chmod o-w {path}`, or set models.allow_world_writable."
        )
