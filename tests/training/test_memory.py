from __future__ import annotations

from pathlib import Path

import pytest
from support.training_memory import OURS, measure_memory, write_fleet

pytestmark = pytest.mark.slow

_READING_MB = 180.0
"""Of buffers and of code that is first needed while reading, whatever the size of the dataset."""


def test_a_dataset_takes_no_more_than_twice_its_numbers_beside_what_reading_takes(tmp_path: Path) -> None:
    """Where the library's dataset held all rows, this fleet took 700 MB."""
    used = measure_memory(write_fleet(tmp_path, servers=150, days=14, metrics=14), OURS)
    assert used["raw"] == pytest.approx(150 * 14 * 288 * 14 * 4 / 1e6)
    assert used["peak"] - used["before"] < 2 * used["raw"] + _READING_MB
