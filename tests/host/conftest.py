from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nordiq_watch.config import Auth, Config, Logs, Server, Settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings rooted in the test's own directory."""

    def make(
        *, api_key: str | None = None, logs: Logs | None = None, host: str = "127.0.0.1", key_file: str = ".nordiq_key"
    ) -> Settings:
        config = Config(logs=logs or Logs(), server=Server(host=host), auth=Auth(key_file=key_file))
        return Settings(config=config, root=tmp_path, api_key=api_key)

    return make
