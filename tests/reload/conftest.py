"""A reload chain to step by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.yard import Yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    models_dir = tmp_path / "models"
    models_dir.mkdir()
    return Yard(models_dir, tmp_path / "state")
