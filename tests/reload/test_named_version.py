from __future__ import annotations

from pathlib import Path

import pytest
from support.models import METRICS, drop_model

from nordiq_watch.api.enums import Check
from nordiq_watch.errors import ConfigError, ModelRejected
from nordiq_watch.reload.loader import Requirements
from nordiq_watch.reload.named_version import load_version, version_at

NAME = "tft_model_20250130_143000"


def test_a_version_is_loaded_from_where_it_lies(tmp_path: Path) -> None:
    directory = drop_model(tmp_path, NAME).rename(tmp_path / "of-yesterday")
    servable = load_version(version_at(directory))
    assert servable.name == "of-yesterday"
    assert servable.spec.targets == METRICS


def test_what_is_no_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere is not a directory"):
        version_at(tmp_path / "nowhere")


def test_an_incomplete_one_is_refused(tmp_path: Path) -> None:
    directory = drop_model(tmp_path, NAME)
    (directory / "config.json").unlink()
    with pytest.raises(ModelRejected, match="not complete") as refused:
        load_version(version_at(directory))
    assert refused.value.check is Check.LAYOUT


def test_requirements_are_held_against_it(tmp_path: Path) -> None:
    version = version_at(drop_model(tmp_path, NAME))
    with pytest.raises(ModelRejected, match="its interval_seconds is 300, the window's is 60"):
        load_version(version, requirements=Requirements(METRICS, 60, 288))
