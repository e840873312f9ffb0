"""A reload chain to step by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.yard import Yard


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    models_dir = tmp_path / "models"
    models_dir.mkdir()
    yield Yard(models_dir, tmp_path / "state")
