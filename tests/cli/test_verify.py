from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from support.models import drop_model, drop_model_with_extras

from nordiq_watch.cli.main import main

A = "tft_model_20250101_000000"


def verify(directory: Path) -> int:
    return main(["verify", str(directory)])


def test_a_whole_version_is_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(drop_model(tmp_path, A)) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{A}: complete and loadable\n")
    assert "extras" not in said


def test_its_extras_are_described_with_their_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = drop_model_with_extras(tmp_path, A)
    digest = hashlib.sha256((directory / "extras.safetensors").read_bytes()).hexdigest()
    assert verify(directory) == 0
    assert f"  extras    {digest}: network, linear\n" in capsys.readouterr().out


def test_missing_and_unusable_extras_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = drop_model_with_extras(tmp_path, A, blend=torch.ones(2, 2, 4))
    assert verify(directory) == 1
    assert "do not add up to 1" in capsys.readouterr().err
    (directory / "extras.safetensors").unlink()
    assert verify(directory) == 1
    assert "it is not complete: extras.safetensors missing" in capsys.readouterr().err


def test_extras_under_version_1_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = drop_model_with_extras(tmp_path, A)
    config = json.loads((directory / "config.json").read_bytes()) | {"format_version": 1}
    (directory / "config.json").write_text(json.dumps(config))
    assert verify(directory) == 1
    assert "format_version 1, a model with extras has 2" in capsys.readouterr().err


def test_a_format_that_is_not_known_is_neither_loadable_nor_signed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = drop_model(tmp_path, A)
    config = json.loads((directory / "config.json").read_bytes()) | {"format_version": 3}
    (directory / "config.json").write_text(json.dumps(config))
    assert verify(directory) == 1
    assert "format_version 3, this version reads 1 and 2" in capsys.readouterr().err
    key = tmp_path / "signing.pem"
    assert main(["sign", "--new-key", str(key)]) == 0
    assert main(["sign", str(directory), "--key", str(key)]) != 0
    assert "was not signed: config.json has format_version 3" in capsys.readouterr().err
