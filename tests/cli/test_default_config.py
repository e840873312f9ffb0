from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.cli.main import main
from nordiq_watch.config.load import load_settings
from nordiq_watch.config.schema import Config


def test_what_it_prints_is_a_config_of_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["default-config"]) == 0
    file = tmp_path / "config.yaml"
    file.write_text(capsys.readouterr().out)
    assert "# NORDIQ_SERVER__PORT=9000" in file.read_text()
    assert load_settings(file, {}).config == Config()
