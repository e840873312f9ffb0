from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.models_dir import prepare_models_dir


def test_it_is_made_where_it_is_missing(tmp_path: Path) -> None:
    prepare_models_dir(tmp_path / "a" / "models")
    assert (tmp_path / "a" / "models").is_dir()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(ConfigError, match="models is a file"):
        prepare_models_dir(tmp_path / "models")


def test_one_that_everybody_may_write_is_refused_unless_the_config_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match=f"chmod o-w {tmp_path}"):
        prepare_models_dir(tmp_path)
    prepare_models_dir(tmp_path, allow_world_writable=True)
