from __future__ import annotations

from pathlib import Path

import torch
from support.models import drop_model, drop_model_with_extras
from support.specs import write_whole_directory

from nordiq_watch.artifact.layout import WEIGHTS_FILE, refused_name
from nordiq_watch.artifact.reader import HashMismatch
from nordiq_watch.training.gate import read_contender
from nordiq_watch.training.newest import read_newest

OLD, NEW, NEWEST = "tft_model_20250101_000000", "tft_model_20250102_000000", "tft_model_20250103_000000"


def name_of(directory: Path) -> str:
    if directory.name == NEWEST:
        raise HashMismatch("other bytes")
    return directory.name


def test_the_newest_one_that_can_be_read_and_why_not_the_newer_ones(tmp_path: Path) -> None:
    for name in (OLD, NEW, NEWEST):
        write_whole_directory(tmp_path, name)
    (tmp_path / NEW / WEIGHTS_FILE).unlink()
    said: list[str] = []
    assert read_newest(tmp_path, name_of, report=said.append) == OLD
    assert said == [f"{NEWEST}: cannot be used: other bytes", f"{NEW}: cannot be used: model.safetensors missing"]


def test_a_version_whose_extras_cannot_be_served_is_passed_over(tmp_path: Path) -> None:
    drop_model(tmp_path, OLD)
    drop_model_with_extras(tmp_path, NEW)
    drop_model_with_extras(tmp_path, NEWEST, blend=torch.ones(2, 2, 4))
    said: list[str] = []
    newest = read_newest(tmp_path, read_contender, report=said.append)
    assert newest is not None
    assert (newest.name, newest.predictor.members) == (NEW, ("network", "linear"))
    assert "do not add up to 1" in said[0]


def test_a_refused_version_is_none(tmp_path: Path) -> None:
    write_whole_directory(tmp_path, NEW).rename(tmp_path / refused_name(NEW))
    assert read_newest(tmp_path, name_of, report=lambda _: None) is None
    assert read_newest(tmp_path / "nowhere", name_of, report=lambda _: None) is None
