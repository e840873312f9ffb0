from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.batches import METRICS, Sample, make_batch

from nordiq_watch.errors import DatasetError
from nordiq_watch.storage.archive import Archive
from nordiq_watch.tables.archive import read_archive
from nordiq_watch.training.dataset import load_dataset

FIRST = 20_000 * 288  # midnight, in slots of 300 s


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive", metrics=METRICS, interval_seconds=300, days=30)


def test_a_day_of_the_archive_is_a_table(archive: Archive) -> None:
    archive.write([make_batch([Sample("a", FIRST + 1, status=1, profile="Database"), Sample("b", FIRST + 1)])])
    (table,) = read_archive(archive.files()["2024-10-04"], METRICS)
    assert table.to_dict("list") == {
        "time": [(FIRST + 1) * 300 * 1_000_000] * 2,
        "server_name": ["a", "b"],
        "cpu_user_pct": [1.0, 1.0],
        "status": ["healthy", ""],
        "profile": ["Database", ""],
    }, "what was never measured is left out"


def test_the_trainer_reads_what_the_daemon_keeps_while_the_daemon_has_it(archive: Archive, tmp_path: Path) -> None:
    slots = range(FIRST, FIRST + 400)  # two days
    for slot in slots:
        values = {"cpu_user_pct": float(slot % 90), "mem_used_pct": 50.0}
        archive.write([make_batch([Sample("a", slot, values), Sample("b", slot, values, profile="X")])])
    before = {day: path.read_bytes() for day, path in archive.files().items()}
    data = load_dataset(tmp_path / "archive", metrics=METRICS, interval_seconds=300)
    assert data.metrics == METRICS
    assert [(series.server, series.profile, series.first_slot) for series in data.series] == [
        ("a", "Generic", FIRST),
        ("b", "X", FIRST),
    ]
    for series in data.series:
        np.testing.assert_array_equal(series.values[:, 0], np.array([slot % 90 for slot in slots], dtype=np.float32))
    assert data.repairs == ()
    assert {day: path.read_bytes() for day, path in archive.files().items()} == before


def test_slots_of_a_shorter_interval_count_by_their_samples(tmp_path: Path) -> None:
    minutes = Archive(tmp_path, metrics=METRICS, interval_seconds=60, days=30)
    four, one = (
        make_batch([Sample("a", FIRST * 5, {"cpu_user_pct": 90.0})]),
        make_batch([Sample("a", FIRST * 5 + 1, {"cpu_user_pct": 10.0})]),
    )
    minutes.write([replace(four, counts=np.array([4])), one])
    (series,) = load_dataset(tmp_path, metrics=METRICS, interval_seconds=300).series
    assert series.values.tolist() == [[74.0]]


def test_days_from_before_the_metrics_changed_are_passed_over(archive: Archive, tmp_path: Path) -> None:
    archive.write([make_batch([Sample("a", FIRST, {"mem_used_pct": 1.0})])])
    archive.write([make_batch([Sample("a", FIRST + 288 + slot)]) for slot in range(3)])
    data = load_dataset(tmp_path / "archive", metrics=("cpu_user_pct", "load_average"), interval_seconds=300)
    assert [(series.first_slot, len(series.values)) for series in data.series] == [(FIRST + 288, 3)]
    with pytest.raises(DatasetError, match="no rows with a metric of the config"):
        load_dataset(tmp_path / "archive", metrics=("load_average",), interval_seconds=300)


def test_a_file_that_is_no_day_of_an_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "2024-10-04.sqlite3"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(DatasetError, match=r"2024-10-04\.sqlite3: cannot be read as a day of the archive"):
        load_dataset(tmp_path, metrics=METRICS, interval_seconds=300)
