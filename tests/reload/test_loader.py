from __future__ import annotations

from pathlib import Path

import pytest
from support.models import drop_model
from support.specs import write_whole_directory_with_extras

from nordiq_watch.api.enums import Check
from nordiq_watch.errors import ModelRejected
from nordiq_watch.records.models import Version
from nordiq_watch.reload.loader import Loader

A = "tft_model_20250101_000000"


@pytest.mark.parametrize("file", ["config.json", "server_mapping.json", "model.safetensors"])
def test_what_cannot_be_read_is_named_without_its_place_on_the_host(tmp_path: Path, file: str) -> None:
    directory = drop_model(tmp_path / "models", A)
    (directory / file).unlink()
    version = Version(A, directory, timestamp=None, fingerprint="", size_bytes=0, modified=0.0)
    with pytest.raises(ModelRejected) as caught:
        Loader(None).read(version)
    assert file in caught.value.reason
    assert str(tmp_path) not in str(caught.value)


def test_a_version_that_became_a_link_after_it_was_seen_is_not_followed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    secret = drop_model(tmp_path / "elsewhere", A)
    (models / A).symlink_to(secret)
    version = Version(A, models / A, timestamp=None, fingerprint="", size_bytes=0, modified=0.0)
    with pytest.raises(ModelRejected, match="Not a directory"):
        Loader(None).read(version)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_broken_extras_are_named_as_such(tmp_path: Path, length: int) -> None:
    directory = write_whole_directory_with_extras(tmp_path / "models")
    content = (directory / "extras.safetensors").read_bytes()
    (directory / "extras.safetensors").write_bytes(content[:length])
    version = Version(A, directory, timestamp=None, fingerprint="", size_bytes=0, modified=0.0)
    with pytest.raises(ModelRejected) as caught:
        Loader(None).read(version)
    assert (caught.value.check, caught.value.found[:23]) == (Check.WEIGHTS, "extras.safetensors has ")
