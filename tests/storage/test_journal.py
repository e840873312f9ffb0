from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch, samples_of

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.database import move_aside
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.sample_file import SCHEMA_VERSION

NOON = 1_736_942_400.0  # 2025-01-15T12:00:00Z


def open_journal(path: Path, *, metrics: Sequence[str] = METRICS, interval_seconds: int = 300) -> Journal:
    return Journal(path, metrics=metrics, interval_seconds=interval_seconds, clock=lambda: NOON)


def replayed(journal: Journal, oldest_slot: int = 0, metrics: Sequence[str] = METRICS) -> list[list[Sample]]:
    return [samples_of(batch, metrics) for batch in journal.replay(oldest_slot)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def connection_of(journal: Journal) -> sqlite3.Connection:
    journal.touch()
    assert journal._file is not None
    return journal._file._connection


def corrupt_files(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if ".corrupt-" in file.name)


# --- what was appended is there ---


def test_what_was_appended_is_replayed_in_order(path: Path) -> None:
    journal = open_journal(path)
    first = [Sample("b", 7, {"mem_used_pct": 2.5}, status=3), Sample("a", 8)]
    second, third = [Sample("a", 6, profile="Database")], [Sample("größe", 9, {"cpu_user_pct": 0.0})]
    journal.append([make_batch(first), make_batch(second)])
    journal.append([make_batch(third)])
    journal.close()
    reopened = open_journal(path)
    known = Sample("a", 8, profile="Database")  # a server's profile is the last that was given, wherever
    assert replayed(reopened) == [[first[0], known], second, third]


def test_a_fresh_journal_is_empty(path: Path) -> None:
    journal = open_journal(path)
    assert replayed(journal) == []


SAMPLES = st.builds(
    Sample,
    server=st.sampled_from(["a", "b", "c", "größe 東京"]),
    slot=st.integers(0, 20) | st.just(2**40),
    values=st.dictionaries(st.sampled_from(METRICS), st.floats(0, 2.0**100, width=32), min_size=1),
    status=st.integers(0, 8),
)
GROUPS = st.lists(st.lists(st.lists(SAMPLES, min_size=1, max_size=5), min_size=1, max_size=3), max_size=4)


@settings(max_examples=40, deadline=None)
@given(groups=GROUPS, oldest=st.integers(0, 25), reopen=st.booleans())
def test_replay_is_the_list_of_what_was_appended(
    groups: list[list[list[Sample]]], oldest: int, reopen: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    journal = open_journal(path)
    for group in groups:
        journal.append([make_batch(batch) for batch in group])
        if reopen:
            journal.close()
            journal = open_journal(path)
    batches = [batch for group in groups for batch in group if max(sample.slot for sample in batch) >= oldest]
    assert replayed(journal, oldest) == batches
    journal.close()


def test_profiles_change_and_stay(path: Path) -> None:
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1, profile="X")]), make_batch([Sample("a", 2, profile="Y")])])
    journal.append([make_batch([Sample("a", 3)])])
    assert {sample.profile for batch in replayed(journal) for sample in batch} == {"Y"}
    journal.close()
    assert {sample.profile for batch in replayed(open_journal(path)) for sample in batch} == {"Y"}


def test_clearing_deletes_all_and_what_comes_next_is_as_in_a_fresh_one(path: Path) -> None:
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 4), Sample("b", 9)])])
    assert (journal.batches, journal.bytes) == (1, 16)
    journal.clear()
    assert (journal.batches, journal.bytes, replayed(journal)) == (0, 0, [])
    journal.append([make_batch([Sample("b", 5)])])
    journal.close()
    assert replayed(open_journal(path)) == [[Sample("b", 5)]]


# --- crashes ---

CHILD = """
import sys
from pathlib import Path
from support.batches import METRICS, Sample, make_batch
from nordiq_watch.storage.database import move_aside
from nordiq_watch.storage.journal import Journal

journal = Journal(Path(sys.argv[1]), metrics=METRICS, interval_seconds=300)
for number in range(1_000_000):
    journal.append([make_batch([Sample(f"server{number}", number)]), make_batch([Sample("all", number)])])
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 40])
def test_kill_9_loses_nothing_that_was_acknowledged(path: Path, acknowledged: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parent.parent)},
    ) as child:
        assert child.stdout is not None
        said = [int(next(child.stdout)) for _ in range(acknowledged)]
        child.send_signal(signal.SIGKILL)
        said += [int(line) for line in child.stdout if line.endswith("\n")]
    slots = [batch.slots.tolist() for batch in open_journal(path).replay(0)]
    numbers = sorted({slot for (slot,) in slots})
    assert slots == [[number] for number in numbers for _ in range(2)], "whole groups, none twice"
    assert numbers[: len(said)] == said
    assert len(numbers) <= len(said) + 1, "at most the group that was not yet acknowledged"


def test_a_failed_append_leaves_nothing_behind_and_the_next_one_works(path: Path) -> None:
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1)])])
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    page_count = other.execute("PRAGMA page_count").fetchone()[0]
    connection_of(journal).execute(f"PRAGMA max_page_count = {page_count}")  # a disk that is full
    many = make_batch([Sample(f"new{number}", 2) for number in range(500)])
    with pytest.raises(StorageError, match=r"journal\.db: database or disk is full\. Free some space"):
        journal.append([make_batch([Sample("b", 2)]), many])
    assert replayed(journal) == [[Sample("a", 1)]]
    connection_of(journal).execute("PRAGMA max_page_count = 1000000")
    journal.append([make_batch([Sample("b", 3)])])
    journal.close()
    assert replayed(open_journal(path)) == [[Sample("a", 1)], [Sample("b", 3)]]


def test_another_writer_in_the_way_is_named(path: Path) -> None:
    journal = open_journal(path)
    connection_of(journal).execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="another program"):
        journal.append([make_batch([Sample("a", 1)])])
    other.execute("ROLLBACK")
    journal.append([make_batch([Sample("a", 1)])])


# --- damage ---


def test_a_file_that_is_no_database_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, it is a text" * 100)
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1)])])
    assert replayed(journal) == [[Sample("a", 1)]]
    (aside,) = corrupt_files(path)
    assert aside == "journal.db.corrupt-20250115T120000"
    assert (path.parent / aside).read_bytes().startswith(b"this is not a database")
    assert "journal.db: file is not a database; it is kept as journal.db.corrupt-20250115T120000" in caplog.text


def fill(path: Path, batches: int = 60) -> None:
    journal = open_journal(path)
    for slot in range(batches):
        journal.append([make_batch([Sample(f"server{number}", slot) for number in range(50)])])
    journal.close()


def test_a_truncated_file_is_moved_aside(path: Path) -> None:
    fill(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    journal = open_journal(path)
    assert replayed(journal) == []
    assert corrupt_files(path) == ["journal.db.corrupt-20250115T120000"]


def test_two_damaged_files_of_one_second_keep_both(path: Path) -> None:
    for content in (b"first " * 1000, b"second " * 1000):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        journal = open_journal(path)
        journal.touch()
        journal.close()
    assert corrupt_files(path) == ["journal.db.corrupt-20250115T120000", "journal.db.corrupt-20250115T120000-2"]


def test_the_log_of_a_damaged_file_goes_with_it(path: Path) -> None:
    """One that is left behind would be replayed into the fresh file of the same name."""
    path.parent.mkdir()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_text(suffix)
    aside = move_aside(path, clock=lambda: NOON)
    assert {file.name: file.read_text() for file in path.parent.iterdir()} == {
        aside.name: "",
        f"{aside.name}-wal": "-wal",
        f"{aside.name}-shm": "-shm",
    }


def test_damage_that_shows_while_appending_begins_a_fresh_file(path: Path) -> None:
    fill(path)
    journal = open_journal(path)
    connection_of(journal).execute("PRAGMA cache_size = 0")
    with path.open("r+b") as file:  # behind SQLite's back, all pages but the first
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    journal.append([make_batch([Sample("a", 1), Sample("new", 1)])])
    assert corrupt_files(path) == ["journal.db.corrupt-20250115T120000"]
    assert replayed(journal) == [[Sample("a", 1), Sample("new", 1)]]


def test_damage_that_shows_while_replaying_begins_a_fresh_file(path: Path) -> None:
    fill(path)
    journal = open_journal(path)
    connection_of(journal).execute("PRAGMA cache_size = 0")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    assert replayed(journal) == []
    assert corrupt_files(path) == ["journal.db.corrupt-20250115T120000"]
    journal.append([make_batch([Sample("a", 1)])])
    assert replayed(journal) == [[Sample("a", 1)]]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE batches SET body = zeroblob(length(body)) WHERE id = 2",
        "UPDATE batches SET body = substr(body, 2) WHERE id = 2",
        "UPDATE batches SET crc = crc + 1 WHERE id = 2",
        "UPDATE batches SET samples = samples + 1 WHERE id = 2",
        "DELETE FROM servers WHERE name = 'b'",
    ],
)
def test_a_damaged_batch_is_skipped_and_counted(path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    journal = open_journal(path)
    for slot, server in enumerate("abc"):
        journal.append([make_batch([Sample(server, slot)])])
    journal.close()
    with sqlite3.connect(path) as connection:
        connection.execute(damage)
    connection.close()
    assert replayed(open_journal(path)) == [[Sample("a", 0)], [Sample("c", 2)]]
    assert "1 damaged batches were skipped" in caplog.text
    assert corrupt_files(path) == []


# --- trouble that ends ---


def test_a_newer_schema_is_refused_until_it_is_moved_away(path: Path) -> None:
    journal = open_journal(path)
    journal.touch()
    journal.close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for _ in range(2):
        with pytest.raises(StorageError, match="written by a newer"):
            journal.append([make_batch([Sample("a", 1)])])
    path.rename(path.with_name("elsewhere"))
    journal.append([make_batch([Sample("a", 1)])])
    assert replayed(journal) == [[Sample("a", 1)]]


def test_a_file_that_was_deleted_under_the_daemon_is_begun_anew(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1)])])
    for file in path.parent.iterdir():
        file.unlink()
    journal.append([make_batch([Sample("a", 2)])])
    journal.close()
    assert replayed(open_journal(path)) == [[Sample("a", 2)]]
    assert "journal.db was deleted or replaced while it was open" in caplog.text


def test_a_log_that_was_deleted_under_the_daemon_takes_nothing_with_it(path: Path) -> None:
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1)])])
    path.with_name(f"{path.name}-wal").unlink()
    journal.append([make_batch([Sample("a", 2)])])
    assert journal.is_short, "who has the rest should keep it elsewhere"
    killed = path.with_name("as after kill -9")
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), killed.with_name(killed.name + suffix))
    assert replayed(open_journal(killed)) == [[Sample("a", 1)], [Sample("a", 2)]]


def spoil(how: str, file: Path) -> None:
    content = file.read_bytes()
    match how:
        case "deleted":
            file.unlink()
        case "emptied":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "a bit is another one":
            middle = len(content) // 2
            file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        case "zeros":
            file.write_bytes(bytes(len(content)))


@pytest.mark.parametrize("how", ["deleted", "emptied", "cut", "a bit is another one", "zeros"])
def test_what_a_damaged_log_lost_is_counted_in_a_line(path: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    journal = open_journal(path)
    for slot in range(40):
        journal.append([make_batch([Sample("a", slot), Sample("b", slot)])])
    killed = path.with_name("killed.db")
    copy_as_after_kill(path, killed)
    spoil(how, killed.with_name("killed.db-wal"))
    again = open_journal(killed)
    there = len(replayed(again))
    assert there < 40
    assert again.lost == (40 - there, 2 * (40 - there))
    said = f"killed.db: {40 - there} accepted batches with {2 * (40 - there)} samples are lost"
    assert caplog.text.count(said) == 1
    again.append([make_batch([Sample("a", 99)])])
    again.close()
    caplog.clear()
    assert open_journal(killed).lost == (0, 0)
    assert caplog.text == "", "it is said once"


@pytest.mark.parametrize("moment", ["after a batch", "after it was emptied", "after it was emptied and a batch"])
def test_nothing_is_said_to_be_lost_after_kill_9(path: Path, moment: str, caplog: pytest.LogCaptureFixture) -> None:
    journal = open_journal(path)
    for slot in range(5):
        journal.append([make_batch([Sample("a", slot)])])
    if "emptied" in moment:
        journal.clear()
    if moment.endswith("and a batch"):
        journal.append([make_batch([Sample("a", 9)])])
    killed = path.with_name("killed.db")
    copy_as_after_kill(path, killed)
    again = open_journal(killed)
    replayed(again)
    assert again.lost == (0, 0)
    assert "lost" not in caplog.text


def test_a_count_that_cannot_be_written_costs_no_batch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name("journal.count").mkdir()
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1)])])
    journal.clear()
    journal.append([make_batch([Sample("a", 2)])])
    assert replayed(journal) == [[Sample("a", 2)]]


def copy_as_after_kill(path: Path, killed: Path) -> None:
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), killed.with_name(killed.name + suffix))
    shutil.copy(path.with_name(f"{path.stem}.count"), killed.with_name(f"{killed.stem}.count"))


def test_a_directory_that_comes_late_is_used_then(path: Path) -> None:
    path.parent.write_text("in the way")
    journal = open_journal(path)
    with pytest.raises(StorageError):
        journal.append([make_batch([Sample("a", 1)])])
    path.parent.unlink()
    journal.append([make_batch([Sample("a", 1)])])
    assert replayed(journal) == [[Sample("a", 1)]]


# --- other versions, other settings ---


def test_a_database_of_an_unknown_schema_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE samples (server TEXT, at REAL)")
    connection.close()
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 1)])])
    assert corrupt_files(path) == ["journal.db.corrupt-20250115T120000"]
    assert "has the schema 0, which this nordiq_watch cannot read" in caplog.text


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    open_journal(path).touch()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(
        StorageError, match=rf"journal\.db: was written by a newer nordiq_watch \(schema {SCHEMA_VERSION + 1}"
    ):
        open_journal(path).touch()
    assert corrupt_files(path) == []


def test_columns_are_found_by_name_after_the_metrics_changed(path: Path) -> None:
    journal = open_journal(path, metrics=("a_pct", "b_pct"))
    journal.append([make_batch([Sample("s", 1, {"a_pct": 1.0, "b_pct": 2.0})], ("a_pct", "b_pct"))])
    journal.append([make_batch([Sample("s", 2, {"a_pct": 3.0})], ("a_pct", "b_pct"))])
    journal.close()
    changed = ("b_pct", "c_pct")
    journal = open_journal(path, metrics=changed)
    journal.append([make_batch([Sample("s", 3, {"c_pct": 4.0})], changed)])
    assert replayed(journal, metrics=changed) == [
        [Sample("s", 1, {"b_pct": 2.0})],  # and the batch of slot 2 has none of today's metrics
        [Sample("s", 3, {"c_pct": 4.0})],
    ]
    journal.close()
    back = open_journal(path, metrics=("a_pct", "b_pct"))
    assert [batch.values.shape for batch in back.replay(0)] == [(1, 2), (1, 2)]


def test_batches_of_another_interval_are_left_alone_and_mentioned(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 10)])])
    journal.close()
    assert caplog.text == ""
    minutes = open_journal(path, interval_seconds=60)
    minutes.touch()
    assert "1 batches on an interval of 300 s are not read: window.interval_seconds is 60 s now" in caplog.text
    minutes.append([make_batch([Sample("a", 55)])])
    assert replayed(minutes) == [[Sample("a", 55)]]
    minutes.clear()
    assert replayed(minutes) == []
    minutes.close()
    assert replayed(open_journal(path)) == [[Sample("a", 10)]], "what is on another interval is left alone"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/journal\.db"):
        open_journal(tmp_path / "file" / "journal.db").touch()
    (tmp_path / "directory.db").mkdir()
    with pytest.raises(StorageError, match=r"directory\.db: unable to open database file"):
        open_journal(tmp_path / "directory.db").touch()


def test_samples_are_packed_as_documented(path: Path) -> None:
    journal = open_journal(path)
    journal.append([make_batch([Sample("a", 5, {"mem_used_pct": 1.5}, status=2, offset=1500), Sample("b", 6)])])
    (body,) = sqlite3.connect(path).execute("SELECT body FROM batches").fetchone()
    expected = (
        np.array([1, 2], "<u4").tobytes()
        + np.array([5, 6], "<i8").tobytes()
        + bytes([2, 0])
        + np.array([[np.nan, 1.5], [1.0, np.nan]], "<f4").tobytes()
        + np.array([1500, 0], "<u4").tobytes()
        + np.array([1, 1], "<u2").tobytes()
    )
    assert body == expected


def test_a_commit_is_synced(path: Path) -> None:
    journal = open_journal(path)
    assert connection_of(journal).execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert connection_of(journal).execute("PRAGMA journal_mode").fetchone() == ("wal",)
