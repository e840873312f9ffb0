from __future__ import annotations

from pathlib import Path

import yaml

from nordiq_watch.host.shipped import read_default_config, read_unit_files

REPOSITORY = Path(__file__).parents[2]


def test_the_config_is_the_one_that_people_see() -> None:
    assert read_default_config() == (REPOSITORY / "config.yaml").read_text()
    assert yaml.safe_load(read_default_config())["server"]["port"] == 8000


def test_the_units_are_those_that_people_see() -> None:
    folder = REPOSITORY / "systemd"
    seen = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert "nordiq-watch.service" in seen
    assert read_unit_files() == seen
