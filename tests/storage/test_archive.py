from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from support.batches import METRICS, Sample, make_batch, samples_of

from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive, days_of_window
from nordiq_watch.storage.sample_reader import read_samples

DAY = 288  # slots of 300 s
FIRST = 20_000 * DAY  # 2024-10-04


def open_archive(directory: Path, *, days: int = 30, metrics: Sequence[str] = METRICS) -> Archive:
    return Archive(directory, metrics=metrics, interval_seconds=300, days=days, clock=lambda: 1_736_942_400.0)


def one_slot(slot: int, *servers: str) -> Batch:
    return make_batch([Sample(server, slot, {"cpu_user_pct": float(slot % 100)}) for server in servers])


def replayed(archive: Archive, oldest: int = 0, newest: int = 2 * FIRST) -> list[list[Sample]]:
    return [samples_of(batch) for batch in archive.replay(oldest, newest)]


def test_slots_come_back_in_order_over_the_days(tmp_path: Path) -> None:
    slots = [FIRST - 1, FIRST, FIRST + 5, FIRST + DAY]
    open_archive(tmp_path).write([one_slot(slot, "a", "größe") for slot in slots])
    archive = open_archive(tmp_path)
    assert [samples[0].slot for samples in replayed(archive)] == slots
    assert [samples[0].slot for samples in replayed(archive, FIRST, FIRST + 5)] == slots[1:3]
    assert list(archive.files()) == ["2024-10-03", "2024-10-04", "2024-10-05"]
    assert archive.newest_slot(FIRST + 4) == FIRST
    assert archive.newest_slot(FIRST - 2) is None
    assert archive.oldest_slot(FIRST) == FIRST + 5
    assert archive.oldest_slot(FIRST + DAY) is None


def test_a_slot_that_is_written_again_is_replaced(tmp_path: Path) -> None:
    archive = open_archive(tmp_path)
    archive.write([one_slot(FIRST, "a"), one_slot(FIRST + 1, "a")])
    archive.write([one_slot(FIRST, "a", "b")])
    assert [len(samples) for samples in replayed(archive)] == [2, 1]


def test_the_newest_days_that_have_data_are_kept(tmp_path: Path) -> None:
    archive = open_archive(tmp_path, days=2)
    for day in (0, 1, 400, 2, 402, 401):  # a clock that was wrong for a moment; it is 2025-01-15
        archive.write([one_slot(FIRST + day * DAY, "a")])
    kept = [samples[0].slot for samples in replayed(archive)]
    assert kept == [FIRST + day * DAY for day in (1, 2, 401, 402)], "days from ahead take nobody's place"


@pytest.mark.parametrize("damage", ["text", "cut"])
def test_damage_costs_its_day_alone_and_nothing_is_deleted(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    archive = open_archive(tmp_path)
    archive.write([one_slot(FIRST + slot, *(f"s{n}" for n in range(400))) for slot in range(5)])
    archive.write([one_slot(FIRST + DAY, "a")])
    file = archive.files()["2024-10-04"]
    content = file.read_bytes()
    file.write_bytes(b"no database" * 1000 if damage == "text" else content[: len(content) // 2])
    assert [samples[0].slot for samples in replayed(archive)] == [FIRST + DAY]
    assert "that day is not read" in caplog.text
    (aside,) = tmp_path.glob("2024-10-04.sqlite3.corrupt-*")
    assert aside.stat().st_size
    archive.write([one_slot(FIRST, "a")])
    assert len(replayed(archive)) == 2, "the day begins anew"


def test_damage_of_an_index_costs_its_day_too_and_blocks_no_other(tmp_path: Path) -> None:
    archive = open_archive(tmp_path)
    archive.write([one_slot(FIRST, "a"), one_slot(FIRST + DAY, "a")])
    newest = archive.files()["2024-10-05"]
    with closing(sqlite3.connect(newest)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'batches_by_slot'").fetchone()
    with newest.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    assert archive.newest_slot(FIRST + DAY) == FIRST
    assert list(tmp_path.glob("2024-10-05.sqlite3.corrupt-*"))


def test_who_reads_a_day_at_leisure_does_not_keep_the_daemon_from_writing_it(tmp_path: Path) -> None:
    archive = open_archive(tmp_path)
    archive.write([one_slot(FIRST + slot, *(f"s{n}" for n in range(400))) for slot in range(4)])
    (day,) = archive.files().values()
    reader = read_samples(day, metrics=METRICS)
    _, first = next(reader)
    archive.write([one_slot(FIRST + 1, "late"), one_slot(FIRST + 4, "a")])
    assert [len(batch.rows) for batch in (first, *(batch for _, batch in reader))] == [400, 1, 400, 400]


def test_columns_are_found_by_name_after_the_metrics_changed(tmp_path: Path) -> None:
    open_archive(tmp_path).write([make_batch([Sample("a", FIRST, {"cpu_user_pct": 1.0, "mem_used_pct": 2.0})])])
    metrics = ("mem_used_pct", "load_average")
    (batch,) = open_archive(tmp_path, metrics=metrics).replay(0, 2 * FIRST)
    assert samples_of(batch, metrics) == [Sample("a", FIRST, {"mem_used_pct": 2.0})]


def test_a_window_touches_one_day_more_than_it_is_long() -> None:
    assert days_of_window(288, 300) == 2
    assert days_of_window(289, 300) == 3


def test_renamed_servers_have_their_new_names_on_every_day_where_a_taken_name_takes_the_samples(tmp_path: Path) -> None:
    archive = open_archive(tmp_path)
    archive.write([one_slot(FIRST, "a", "b"), one_slot(FIRST + DAY, "a", "a@x")])
    for _ in range(2):
        archive.rename({"a": "a@x", "gone": "gone@x"})
    assert [[sample.server for sample in samples] for samples in replayed(archive)] == [["a@x", "b"], ["a@x", "a@x"]]
    archive.write([one_slot(FIRST + 1, "a@x", "a")])
    assert [sample.server for sample in replayed(archive)[1]] == ["a@x", "a"]
