"""Settings for tests of `host` and `security`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nordiq_watch.config.schema import AuthSettings, Config, LogSettings, ServerSettings
from nordiq_watch.config.settings import Settings

MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(tmp_path: Path) -> MakeSettings:
    """Settings rooted in the test's own directory."""

    def make(
        *,
        api_key: str | None = None,
        logs: LogSettings | None = None,
        host: str = "127.0.0.1",
        key_file: str = ".nordiq_key",
    ) -> Settings:
        config = Config(
            logs=logs or LogSettings(), server=ServerSettings(host=host), auth=AuthSettings(key_file=key_file)
        )
        return Settings(config=config, root=tmp_path, api_key=api_key)

    return make
