from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nordiq_watch.config import Config, Logs, Settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings rooted in the test's own directory."""

    def make(*, api_key: str | None = None, logs: Logs | None = None) -> Settings:
        return Settings(config=Config(logs=logs or Logs()), root=tmp_path, api_key=api_key)

    return make
