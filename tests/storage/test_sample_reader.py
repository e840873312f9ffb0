"""Reading a file of samples: the slots and metrics that the caller names, and damaged rows do no harm."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch, samples_of
from support.sample_files import change, one, open_file, samples

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.database import reading
from nordiq_watch.storage.sample_file import SampleFile
from nordiq_watch.storage.sample_reader import number_ids, read_samples


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.sqlite3"


def test_a_replay_is_of_the_batches_that_end_in_these_slots(path: Path) -> None:
    file = open_file(path)
    file.append([make_batch([Sample("a", 3), Sample("a", 5)]), one("a", 6), one("a", 9)])
    assert [sample.slot for sample in samples(file.replay(5, 6))] == [3, 5, 6]
    assert [sample.slot for sample in samples(file.replay(7))] == [9]
    assert (file.newest_slot(), file.newest_slot(8), file.newest_slot(4)) == (9, 6, None)
    assert (file.oldest_slot(0), file.oldest_slot(5), file.oldest_slot(9)) == (5, 6, None)


def test_metrics_are_found_by_name_whatever_their_order_was(path: Path) -> None:
    file = open_file(path)
    file.append([make_batch([Sample("a", 1, {"cpu_user_pct": 1.0, "mem_used_pct": 2.0})])])
    file.close()
    others = ("mem_used_pct", "load_average", "cpu_user_pct")
    (sample,) = samples(open_file(path, metrics=others).replay(0), others)
    assert sample.values == {"cpu_user_pct": 1.0, "mem_used_pct": 2.0}
    assert samples(open_file(path, metrics=("load_average",)).replay(0)) == [], "nothing of it is known any more"


def test_others_read_every_interval_and_write_nothing(path: Path) -> None:
    for interval_seconds in (300, 60):
        file = open_file(path, interval_seconds=interval_seconds)
        file.append([one("a", interval_seconds)])
        file.close()
    before = path.read_bytes()
    read = [(seconds, samples_of(batch)[0].slot) for seconds, batch in read_samples(path, metrics=METRICS)]
    assert read == [(60, 60), (300, 300)]
    assert path.read_bytes() == before


@pytest.mark.parametrize("column", ["samples", "crc", "body"])
def test_a_damaged_batch_is_skipped_and_told_and_the_others_are_there(
    path: Path, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = open_file(path)
    file.append([one("a", 1), one("a", 2), one("a", 3)])
    file.close()
    damaged = "zeroblob(length(body))" if column == "body" else f"{column} + 1"
    change(path, f"UPDATE batches SET {column} = {damaged} WHERE newest_slot = 2")
    assert [sample.slot for sample in samples(open_file(path).replay(0))] == [1, 3]
    assert "1 damaged batches were skipped" in caplog.text


def test_a_file_whose_tables_are_not_committed_yet_has_no_batches(path: Path) -> None:
    """Training that begins while the daemon makes the day's file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        path.touch()
        assert list(read_samples(path, metrics=METRICS)) == []
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("CREATE TABLE servers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, profile TEXT)")
        assert list(read_samples(path, metrics=METRICS)) == []
        writer.execute("ROLLBACK")
    with closing(SampleFile(path, metrics=METRICS, interval_seconds=300, in_log=False)) as file:
        file.put([one("a", 1)])
    assert [samples_of(batch) for _, batch in read_samples(path, metrics=METRICS)] == [[Sample("a", 1)]]


def write_foreign_tables(path: Path) -> None:
    change(path, "CREATE TABLE samples (server TEXT, at REAL)")


def write_no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("write", [write_foreign_tables, write_no_database, Path.mkdir])
def test_what_is_no_file_of_samples_is_an_error(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    with pytest.raises(StorageError, match=path.name):
        list(read_samples(path, metrics=METRICS))


def test_slots_of_the_same_servers_share_their_names_and_others_have_their_own(path: Path) -> None:
    fleet = [
        [Sample("a", 1, profile="X"), Sample("b", 1)],
        [Sample("b", 2), Sample("a", 2)],
        [Sample("c", 3), Sample("a", 3), Sample("c", 3, {"mem_used_pct": 2.0})],
        [Sample("a", 4), Sample("b", 4)],
    ]
    file = open_file(path)
    file.append([make_batch(batch) for batch in fleet])
    first, second, third, fourth = file.replay(0)
    assert first.servers is second.servers
    assert first.profiles is second.profiles
    assert (third.servers, third.profiles) == (("a", "c"), ("X", None))
    assert (fourth.servers, fourth.profiles) == (("a", "b"), ("X", None))
    for read, batch in zip((first, second, third, fourth), fleet, strict=True):
        assert [(sample.server, sample.values) for sample in samples_of(read)] == [
            (sample.server, sample.values) for sample in batch
        ]


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(0, 2**31))
def test_ids_are_numbered_as_numpy_does(ids: list[int], more: int) -> None:
    for some in (ids, [number + more for number in ids]):
        used, rows = number_ids(np.array(some, dtype=np.uint32))
        expected, inverse = np.unique(np.array(some, dtype=np.uint32), return_inverse=True)
        assert used.tolist() == expected.tolist()
        assert rows.tolist() == inverse.tolist()


def test_a_row_that_is_no_blob_is_damaged_and_costs_itself_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = open_file(path)
    file.append([make_batch([Sample("a", slot)]) for slot in (1, 2)])
    file._connection.execute("UPDATE batches SET body = 7 WHERE newest_slot = 1")
    assert [int(batch.slots[0]) for batch in file.replay(0)] == [2]
    assert "1 damaged batches were skipped" in caplog.text


def test_what_a_row_says_and_its_samples_are_of_one_moment(path: Path) -> None:
    """The daemon replaces a slot while training reads it, between the row's checksum and its samples."""
    file, other = open_file(path), open_file(path)
    file.put([make_batch([Sample("a", 1, {"cpu_user_pct": 1.0})])])
    with reading(other._connection):
        (before,) = other._connection.execute("SELECT crc FROM batches").fetchone()
        file.put([make_batch([Sample("a", 1, {"cpu_user_pct": 2.0})])])
        assert other._connection.execute("SELECT crc FROM batches").fetchone() == (before,)
    assert other._connection.execute("SELECT crc FROM batches").fetchone() != (before,)
