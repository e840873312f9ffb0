from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.trouble import blocked

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.decisions import Decisions, DecisionStore, Refusal, RefusalState

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


def refused(state: RefusalState) -> Refusal:
    return Refusal(state=state, fingerprint="f", reason="metrics: it needs gpu_pct", at=0.0)


def test_another_judge_forgets_what_was_rejected_and_nothing_else(tmp_path: Path) -> None:
    store = DecisionStore(tmp_path / "decisions.json")
    store.save(
        Decisions(
            pinned=A, refusals={A: refused(RefusalState.REJECTED), B: refused(RefusalState.QUARANTINED)}
        ).with_judge("one")
    )
    assert set(store.current.refusals) == {B}
    store.save(store.current.with_refusal(A, refused(RefusalState.REJECTED)))
    again = DecisionStore(tmp_path / "decisions.json").current
    assert again.with_judge("one") == again
    assert set(again.with_judge("two").refusals) == {B}
    assert again.with_judge("two").pinned == A


def test_what_the_disk_refuses_is_current_and_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "state" / "decisions.json"
    store = DecisionStore(path)
    with blocked(path.parent):
        store.save(store.current.with_pin(A))
        assert store.current.pinned == A
        assert not store.is_settled
        assert not store._part.works
        store.retry()
        assert not store.is_settled
    store.retry()
    assert store.is_settled
    assert store._part.works
    assert DecisionStore(path).current.pinned == A


def test_a_file_that_may_not_be_read_is_waited_for_and_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "decisions.json"
    first = DecisionStore(path)
    first.save(Decisions(pinned=A, refusals={A: refused(RefusalState.REJECTED)}))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("nordiq_watch.storage.decisions.open_regular", refuse)
        store = DecisionStore(path)
        store.hold_against("another")
        store.retry()
        assert (store.is_known, store.is_settled, store._part.works) == (False, False, False)
    assert path.read_bytes() == before
    store.retry()
    assert store.is_known
    assert store._part.works
    assert (store.current.pinned, store.current.judge, dict(store.current.refusals)) == (A, "another", {})


def refuse(path: str, flags: int) -> int:
    raise PermissionError(13, "Permission denied")


def test_a_pipe_in_its_place_is_told_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "decisions.json")
    with pytest.raises(StorageError, match="Not a regular file"):
        DecisionStore(tmp_path / "decisions.json")


def test_a_damaged_file_is_not_forgotten_in_silence(tmp_path: Path) -> None:
    (tmp_path / "decisions.json").write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        DecisionStore(tmp_path / "decisions.json")
