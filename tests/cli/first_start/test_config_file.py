from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nordiq_watch.cli.first_start.config_file import KEPT, NAME, check_against, plan_changes, write_config
from nordiq_watch.config.load import load_settings
from nordiq_watch.config.schema import Config
from nordiq_watch.errors import ConfigError

DEFAULT = Config()


def test_defaults_make_a_file_without_settings(tmp_path: Path) -> None:
    settings = write_config(tmp_path / NAME, plan_changes(interval_seconds=300, zone="UTC", port=8000))
    assert settings.config == DEFAULT
    assert yaml.safe_load((tmp_path / NAME).read_text()) is None
    assert not (tmp_path / KEPT).exists()


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    settings = write_config(tmp_path / NAME, plan_changes(interval_seconds=60, zone="Europe/Berlin", port=9000))
    assert yaml.safe_load((tmp_path / NAME).read_text()) == {
        "server": {"port": 9000},
        "window": {"interval_seconds": 60},
        "training": {"calendar": {"zone": "Europe/Berlin"}},
    }
    assert settings.config.training.calendar.zone == "Europe/Berlin"


@pytest.mark.parametrize(
    ("interval", "encoder", "horizon"), [(900, 192, 32), (3600, 48, 8), (21_600, 24, 8), (86_400, 24, 8)]
)
def test_longer_slots_make_a_shorter_encoder_and_horizon(
    interval: int, encoder: int, horizon: int, tmp_path: Path
) -> None:
    training = write_config(
        tmp_path / NAME, plan_changes(interval_seconds=interval, zone="UTC", port=8000)
    ).config.training
    assert (training.max_encoder_length, training.max_prediction_length) == (encoder, horizon)


def test_what_was_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("server: {port: 1234}\n")
    write_config(tmp_path / NAME, {})
    assert (tmp_path / KEPT).read_text() == "server: {port: 1234}\n"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"interval_seconds": 60}, "window.interval_seconds 300, not 60"),
        ({"zone": "Europe/Paris"}, "training.calendar.zone UTC, not Europe/Paris"),
        ({"port": 9000}, "server.port 8000, not 9000"),
    ],
)
def test_an_option_against_a_kept_file_is_an_error(wanted: dict[str, object], said: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("")
    options = {"interval_seconds": None, "zone": None, "port": None, **wanted}
    with pytest.raises(ConfigError, match=said):
        check_against(load_settings(tmp_path / NAME, {}), **options)  # type: ignore[arg-type]


def test_an_option_that_the_kept_file_has_too_is_none(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("server: {port: 9000}\n")
    check_against(load_settings(tmp_path / NAME, {}), interval_seconds=300, zone=None, port=9000)


def test_a_config_that_writes_utc_in_small_letters_says_the_same_as_the_option(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("training: {calendar: {zone: utc}}\n")
    check_against(load_settings(tmp_path / NAME, {}), interval_seconds=None, zone="UTC", port=None)
