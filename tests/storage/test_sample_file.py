"""The file that journal and archive are made of: a batch is read as it was written, also after a restart."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.batches import Sample, make_batch
from support.sample_files import change, one, open_file, samples

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.database import CorruptDatabase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.sqlite3"


def test_batches_come_back_whole_and_in_order_after_a_restart(path: Path) -> None:
    first = [
        Sample("a", 7, {"cpu_user_pct": 1.5, "mem_used_pct": 2.5}, status=3, profile="Database"),
        Sample("größe", 6, {"mem_used_pct": 9.0}),
    ]
    file = open_file(path)
    file.append([make_batch(first)])
    file.append([one("b", 8), one("a", 9, 4.0)])
    file.close()
    again = open_file(path)
    found = samples(again.replay(0))
    assert found[:2] == first
    assert [(sample.server, sample.slot) for sample in found[2:]] == [("b", 8), ("a", 9)]
    assert found[3].profile == "Database", "a profile stays until another is sent"


def test_a_slot_that_is_put_again_takes_the_place_of_what_was_there(path: Path) -> None:
    file = open_file(path)
    file.put([one("a", 1), one("a", 2)])
    file.put([make_batch([Sample("a", 2, {"cpu_user_pct": 5.0}), Sample("b", 2)])])
    assert [(sample.server, sample.slot, sample.values["cpu_user_pct"]) for sample in samples(file.replay(0))] == [
        ("a", 1, 1.0),
        ("a", 2, 5.0),
        ("b", 2, 1.0),
    ]


def test_batches_of_another_interval_are_left_alone_and_counted(path: Path) -> None:
    minutes = open_file(path, interval_seconds=60)
    minutes.append([one("a", 1), one("a", 2)])
    minutes.close()
    file = open_file(path)
    file.append([one("a", 3)])
    assert [sample.slot for sample in samples(file.replay(0))] == [3]
    assert file.newest_slot(2) is None
    assert file.other_intervals() == {60: 2}
    file.clear()
    assert samples(file.replay(0)) == []
    assert file.other_intervals() == {60: 2}, "clearing is of this interval"
    file.append([one("a", 4)])
    assert [sample.server for sample in samples(file.replay(0))] == ["a"]


def test_a_transaction_that_fails_leaves_nothing_and_the_next_one_works(path: Path) -> None:
    file = open_file(path)
    file.append([one("a", 1)])
    change(
        path,
        "CREATE TRIGGER full BEFORE INSERT ON batches WHEN NEW.newest_slot = 3 BEGIN SELECT RAISE(ABORT, 'x'); END",
    )
    with pytest.raises(StorageError):
        file.append([one("new", 2), one("new", 3)])
    change(path, "DROP TRIGGER full")
    assert [sample.server for sample in samples(file.replay(0))] == ["a"]
    file.append([one("new", 4)])
    file.close()
    assert [sample.server for sample in samples(open_file(path).replay(0))] == ["a", "new"]


def test_a_file_of_a_newer_version_is_refused_and_kept(path: Path) -> None:
    open_file(path).close()
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(StorageError, match=r"newer nordiq_watch \(schema 99"):
        open_file(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_content_that_is_no_database_is_reported_as_damage(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(CorruptDatabase):
        open_file(path)
