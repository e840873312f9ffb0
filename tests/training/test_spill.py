from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

from nordiq_watch.training import spill
from nordiq_watch.training.spill import PARTITIONS, MappedRows, PartitionedRows

ROW = np.dtype([("key", "i4"), ("value", "f4", (3,))])


def rows_of(keys: list[int], first: float = 0.0) -> np.ndarray:
    rows = np.zeros(len(keys), dtype=ROW)
    rows["key"], rows["value"] = keys, (first + np.arange(len(keys)))[:, None]
    return rows


def test_rows_with_the_same_key_come_back_together_and_in_order() -> None:
    with PartitionedRows(ROW) as partitioned:
        for first in (0.0, 100.0):
            rows = rows_of([1, 5, 1, 1 + PARTITIONS, 5], first)
            partitioned.append(rows, rows["key"].astype(np.int64))
        found = [(part["key"].tolist(), part["value"][:, 0].tolist()) for part in partitioned.read()]
    one = [1, 1, 1 + PARTITIONS]
    assert found == [
        (one + one, [0.0, 2.0, 3.0, 100.0, 102.0, 103.0]),
        ([5, 5, 5, 5], [1.0, 4.0, 101.0, 104.0]),
    ]


def test_mapped_rows_are_those_that_were_appended() -> None:
    mapped = MappedRows(np.float32, 2)
    assert mapped.append(np.zeros((3, 2))) == slice(0, 3)
    assert mapped.append(np.ones((2, 2))) == slice(3, 5)
    values = mapped.map()
    assert values.dtype == np.float32
    assert values.tolist() == [[0, 0]] * 3 + [[1, 1]] * 2
    assert not values.flags.writeable


def test_nothing_can_be_mapped_too() -> None:
    assert MappedRows(np.float32, 2).map().shape == (0, 2)


def test_a_full_disk_says_where_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(spill, "_open", lambda: full)
        mapped = MappedRows(np.float32, 2)
        with pytest.raises(OSError, match=r"full: the dataset's numbers do not fit.*TMPDIR") as caught:
            mapped.append(np.zeros((3, 2)))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == tempfile.gettempdir()
