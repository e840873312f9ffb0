"""How slots get into the archive, through the sample store."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.batches import Sample, samples_of
from support.sample_stores import LENGTH, START, State, block, unblock


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_the_archive_keeps_what_left_the_window(state: State) -> None:
    state.now += 100 * 300
    for slot in range(3 * LENGTH):
        state.take(Sample("a", START + slot))
    state.now += 3600
    state.sample_store.checkpoint()
    assert state.archive_slots() == [START + slot for slot in range(3 * LENGTH)]
    assert list(state.journal.replay(0)) == []


def test_a_jump_forward_writes_what_it_clears_to_the_archive_first(state: State) -> None:
    state.now += 1000 * 300
    state.take(Sample("a", START))
    state.take(Sample("a", START + 1000))
    assert state.archive_slots()[0] == START


def test_after_a_clock_went_back_the_archive_is_written_as_ever(state: State) -> None:
    state.take(Sample("a", START))
    state.now += 10 * 365 * 86400
    state.take(Sample("a", int(state.now // 300)))
    state.now -= 10 * 365 * 86400
    for slot in range(START, START + 6):
        state.now = slot * 300.0
        state.take(Sample("a", slot))
    assert {START, START + 1, START + 2} < set(state.archive_slots())


@pytest.mark.parametrize("restarted", [False, True])
def test_what_left_the_window_while_the_archive_did_not_work_gets_there_when_it_does(
    tmp_path: Path, restarted: bool
) -> None:
    state = State(tmp_path / "state", now=(START + 100) * 300.0)
    (state.root / "archive").mkdir()
    block(state.root / "archive")
    for slot in range(START, START + 3 * LENGTH):
        state.take(Sample("a", slot))
    state.take(Sample("b", START + 3 * LENGTH - 1))
    assert [trouble.name for trouble in state.sample_store.troubles] == ["archive"]
    if restarted:
        state.restart()
    unblock(state.root / "archive")
    state.now += 3600
    assert state.sample_store.checkpoint()
    assert state.archive_slots() == list(range(START, START + 3 * LENGTH))
    assert list(state.journal.replay(0)) == []


def test_a_journal_with_samples_from_ahead_of_the_clock_is_emptied_like_any_other(state: State) -> None:
    state.now += 10 * 365 * 86400
    ahead = int(state.now // 300)
    state.take(Sample("a", ahead))
    state.sample_store.checkpoint()
    state.take(Sample("a", ahead, {"mem_used_pct": 2.0}), Sample("b", ahead - LENGTH))
    state.take(Sample("b", ahead - 1))
    state.now = START * 300.0
    state.restart()
    for slot in range(START, START + 5):
        state.now = slot * 300.0
        state.take(Sample("a", slot))
    assert {slot for batch in state.journal.replay(0) for slot in batch.slots.tolist()} <= {*range(START, START + 5)}
    kept = [sample for batch in state.archive.replay(ahead - LENGTH, ahead) for sample in samples_of(batch)]
    assert kept == [
        Sample("b", ahead - LENGTH),
        Sample("b", ahead - 1),
        Sample("a", ahead, {"cpu_user_pct": 1.0, "mem_used_pct": 2.0}),
    ]
    state.now = ahead * 300.0
    state.take(Sample("b", ahead))
    assert (state.slots_of("a"), state.slots_of("b")) == ([ahead], [ahead - 1, ahead])
