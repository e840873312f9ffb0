from __future__ import annotations

from pathlib import Path

import pytest
from support.models import drop_model

from nordiq_watch.errors import ModelRejected
from nordiq_watch.records import Version
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
