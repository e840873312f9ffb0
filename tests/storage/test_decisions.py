from __future__ import annotations

from pathlib import Path
from typing import Literal

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
