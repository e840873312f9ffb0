from __future__ import annotations

from pathlib import Path

from support.trouble import blocked

from nordiq_watch.api.enums import ReloadOutcome, ReloadState, ReloadTrigger
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.reload.history import ReloadHistory


def record(number: int) -> ReloadRecord:
    return ReloadRecord(
        number, ReloadTrigger.API, None, ReloadState.FINISHED, created_at=float(number), outcome=ReloadOutcome.LOADED
    )


def test_what_the_disk_refuses_is_written_when_it_is_well_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "reloads.jsonl"
    history = ReloadHistory(path)
    history.add(record(1))
    with blocked(path.parent):
        history.add(record(2))
        history.add(record(3))
        assert not history.is_settled
        assert [known.id for known in history.recent()] == [3, 2, 1]
    history.retry()
    assert history.is_settled
    assert [known.id for known in ReloadHistory(path).recent()] == [3, 2, 1]


def test_a_file_that_cannot_be_read_is_a_part_that_fails_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "reloads.jsonl"
    path.mkdir()
    history = ReloadHistory(path)
    assert not history.is_settled
    path.rmdir()
    history.retry()
    assert history.is_settled
