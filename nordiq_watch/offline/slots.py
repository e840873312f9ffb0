"""What a slot holds of several samples, for datasets that are read from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nordiq_watch.config.load import change_settings, find_settings


def find_aggregates(config: str | os.PathLike[str] | None, settings: Mapping[str, Any] | None) -> Mapping[str, str]:
    """`window.aggregate` of a config, chosen as `offline.train` does. Raises ConfigError."""
    found = change_settings(find_settings(None if config is None else Path(config)), settings or {})
    return found.config.window.aggregate
