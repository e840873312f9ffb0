"""How the window is filled from archive and journal, through the sample store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.batches import Sample
from support.sample_stores import LENGTH, START, State, block, unblock

from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.store_health import RETRY_SECONDS


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_a_clock_that_was_ahead_and_went_back(state: State, caplog: pytest.LogCaptureFixture) -> None:
    state.take(Sample("a", START - 1), Sample("a", START))
    true_time, state.now = state.now, state.now + 10 * 365 * 86400
    ahead = int(state.now // 300)
    state.take(Sample("a", ahead))
    assert state.slots_of("a") == [ahead]
    state.now = true_time + 300
    state.take(Sample("a", START + 1))
    assert state.slots_of("a") == [START - 1, START, START + 1]
    assert "the clock went back" in caplog.text
    state.restart()
    assert state.slots_of("a") == [START - 1, START, START + 1]
    assert ahead in state.archive_slots(), "what came with a wrong clock is not deleted"


def test_a_window_that_is_ahead_of_the_clock_and_cannot_be_filled_anew_takes_nothing(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.now += 2 * LENGTH * 300
    state.take(Sample("a", START + 2 * LENGTH))
    state.now -= 2 * LENGTH * 300
    (state.root / "archive").mkdir(exist_ok=True)
    block(state.root / "archive")
    for _ in range(2):
        with pytest.raises(StorageError, match="archive"):
            state.take(Sample("a", START))
    unblock(state.root / "archive")
    state.now += RETRY_SECONDS
    state.take(Sample("a", START))
    assert state.slots_of("a") == [START]


@pytest.mark.parametrize("settled", [True, False])
def test_a_machine_that_boots_in_1970_has_its_window_when_the_clock_is_set(
    state: State, settled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    state.take(Sample("a", START))
    if settled:
        state.sample_store.checkpoint()
    true_time, state.now = state.now, 100.0
    state.restart()
    assert state.window.newest_slot is None
    said = "samples from 2017-07-14 02:40:00Z on are ahead of this machine's clock, and wait: is it right?"
    assert caplog.messages[-1] == said
    state.now = true_time + 300
    state.take(Sample("a", START + 1))
    assert state.slots_of("a") == [START, START + 1]
    state.sample_store.checkpoint()
    state.restart()
    assert state.slots_of("a") == [START, START + 1]


def test_a_start_without_a_disk_goes_on_when_it_is_there(tmp_path: Path) -> None:
    root = tmp_path / "state"
    state = State(root)
    state.take(Sample("a", START))
    state.journal.close()
    block(root)
    state.open()
    assert {trouble.name for trouble in state.sample_store.troubles} >= {"journal"}
    with pytest.raises(StorageError):
        state.take(Sample("a", START + 1))
    unblock(root)
    state.now += RETRY_SECONDS
    state.take(Sample("a", START + 1))
    assert state.sample_store.troubles == ()
    assert state.slots_of("a") == [START, START + 1]


def test_an_archive_that_cannot_be_read_is_not_written_over(state: State, tmp_path: Path) -> None:
    state.take(Sample("a", START), Sample("b", START))
    state.sample_store.checkpoint()
    state.journal.close()
    day = next(iter(state.archive.files().values()))
    shutil.copy(day, tmp_path / "copy")
    day.unlink()
    day.mkdir()
    state.open()
    assert [trouble.name for trouble in state.sample_store.troubles] == ["archive"]
    state.take(Sample("a", START))
    assert not state.sample_store.checkpoint()
    day.rmdir()
    shutil.copy(tmp_path / "copy", day)
    state.now += RETRY_SECONDS
    state.sample_store.retry()
    assert state.sample_store.troubles == ()
    assert (state.slots_of("a"), state.slots_of("b")) == ([START], [START])
    state.restart()
    assert state.slots_of("b") == [START]
