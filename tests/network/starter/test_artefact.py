"""The starter's files: the shipped ones, and damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from nordiq_watch.network.starter.artefact import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    DamagedStarter,
    load_starter,
    read_starter,
    shipped_starter,
    write_starter,
)
from nordiq_watch.network.starter.starter_map import StarterMap


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the shipped files."""
    shutil.copytree(str(shipped_starter()), tmp_path / "starter")
    return tmp_path / "starter"


def shipped() -> StarterMap:
    return read_starter(shipped_starter())


def test_the_shipped_one_is_whole_and_small(directory: Path) -> None:
    starter = shipped()
    assert (starter.lengths[0], starter.lengths[-1], starter.horizon) == (8, 288, 96)
    assert sum(file.stat().st_size for file in directory.iterdir()) < 200_000
    assert load_starter() is not None


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    starter = shipped()
    written = write_starter(starter, tmp_path / "again", made_by="this test")
    again = read_starter(tmp_path / "again")
    assert (again.lengths, again.knots, again.levels) == (starter.lengths, starter.knots, starter.levels)
    assert all(np.array_equal(again.weights[length], starter.weights[length]) for length in starter.lengths)
    assert written.made_by == "this test"


def test_one_changed_byte_is_told_and_there_is_no_starter(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray((directory / WEIGHTS_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / WEIGHTS_FILE).write_bytes(content)
    assert load_starter(directory) is None
    (line,) = caplog.messages
    assert line.startswith("the starter model cannot be used (starter.safetensors has not the SHA-256 that config.json")


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_told(directory: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    (directory / name).unlink()
    assert load_starter(directory) is None
    assert name in caplog.text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format_version": 2}, "format_version 2"),
        ({"lengths": [8]}, "the tensors of starter.safetensors are not those of config.json"),
        ({"knots": "all"}, "config.json: Expected `array`"),
        ({"levels": [0.1, 0.5]}, "the tensors of starter.safetensors are not those of config.json"),
    ],
)
def test_a_config_of_something_else_is_refused(directory: Path, changes: dict[str, object], told: str) -> None:
    config = msgspec.json.decode((directory / CONFIG_FILE).read_bytes()) | changes
    (directory / CONFIG_FILE).write_bytes(msgspec.json.encode(config))
    with pytest.raises(DamagedStarter, match=told):
        read_starter(directory)
