from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.cli.demo_folder import Folder, own, prepare
from nordiq_watch.cli.synthetic import METRICS
from nordiq_watch.config.load import load_settings
from nordiq_watch.errors import ClientError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "demo")


def test_the_config_is_one_that_the_daemon_takes(folder: Folder) -> None:
    with own(folder):
        prepare(folder, 9123)
    settings = load_settings(folder.config, {})
    assert settings.config.server.port == 9123
    assert settings.config.metrics == METRICS
    assert settings.models_dir == folder.models
    assert settings.key_file == folder.key_file


def test_a_second_run_starts_anew(folder: Folder) -> None:
    with own(folder):
        assert prepare(folder, 9123) is False
        (folder.models / "tft_model_old").mkdir()
        folder.key_file.write_text("old")
    with own(folder):
        assert prepare(folder, 9124) is True
    assert folder.versions() == set()
    assert not folder.key_file.exists()


def test_somebody_elses_folder_is_left_alone(folder: Folder) -> None:
    folder.root.mkdir()
    (folder.root / "thesis.txt").write_text("years of work")
    with pytest.raises(ClientError, match="was not made by the demo"), own(folder):
        pass
    assert (folder.root / "thesis.txt").exists()


def test_a_config_of_somebody_else_is_no_mark(folder: Folder) -> None:
    folder.root.mkdir()
    folder.config.write_text("server: {port: 8000}")
    with pytest.raises(ClientError, match="was not made by the demo"), own(folder):
        pass


def test_a_file_is_no_folder(folder: Folder) -> None:
    folder.root.write_text("")
    with pytest.raises(ClientError, match="was not made by the demo"), own(folder):
        pass


def test_an_empty_folder_is_taken(folder: Folder) -> None:
    folder.root.mkdir()
    with own(folder):
        assert prepare(folder, 9123) is False


def test_two_demos_do_not_share_a_folder(folder: Folder) -> None:
    with own(folder):
        prepare(folder, 9123)
        with pytest.raises(ClientError, match="a demo is running there"), own(folder):
            pass
    with own(folder):
        pass


def test_versions_are_what_the_daemon_would_see(folder: Folder) -> None:
    with own(folder):
        prepare(folder, 9123)
    for name in ("tft_model_20250101_000000", ".tft_model_20250102_000000", "tft_model_x.partial", "notes"):
        (folder.models / name).mkdir()
    assert folder.versions() == {"tft_model_20250101_000000"}
