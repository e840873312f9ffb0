from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from support.trouble import blocked

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.decisions import Decisions, DecisionStore, Refusal

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


def refused(state: Literal["rejected", "quarantined"]) -> Refusal:
    return Refusal(state=state, fingerprint="f", reason="metrics: it needs gpu_pct", at=0.0)


def test_another_judge_forgets_what_was_rejected_and_nothing_else(tmp_path: Path) -> None:
    store = DecisionStore(tmp_path / "decisions.json")
    store.save(Decisions(pinned=A, refusals={A: refused("rejected"), B: refused("quarantined")}).with_judge("one"))
    assert set(store.current.refusals) == {B}
    store.save(store.current.with_refusal(A, refused("rejected")))
    again = DecisionStore(tmp_path / "decisions.json").current
    assert again.with_judge("one") == again
    assert set(again.with_judge("two").refusals) == {B}
    assert again.with_judge("two").pinned == A


def test_what_the_disk_refuses_is_current_and_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "state" / "decisions.json"
    store = DecisionStore(path)
    with blocked(path.parent):
        store.save(store.current.with_pin(A))
        assert store.current.pinned == A and not store.is_settled and not store._part.works
        store.retry()
        assert not store.is_settled
    store.retry()
    assert store.is_settled and store._part.works
    assert DecisionStore(path).current.pinned == A


def test_a_file_that_may_not_be_read_is_waited_for_and_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "decisions.json"
    first = DecisionStore(path)
    first.save(Decisions(pinned=A, refusals={A: refused("rejected")}))
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        store = DecisionStore(path)
        store.hold_against("another")
        store.retry()
        assert (store.is_known, store.is_settled, store._part.works) == (False, False, False)
    assert path.read_bytes() == before
    store.retry()
    assert store.is_known and store._part.works
    assert (store.current.pinned, store.current.judge, dict(store.current.refusals)) == (A, "another", {})


def refuse(path: Path) -> bytes:
    raise PermissionError(13, "Permission denied")


def test_a_damaged_file_is_not_forgotten_in_silence(tmp_path: Path) -> None:
    (tmp_path / "decisions.json").write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        DecisionStore(tmp_path / "decisions.json")
