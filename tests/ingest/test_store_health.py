"""What fails is said and tried again, through the sample store."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.batches import Sample
from support.sample_stores import START, State, block, unblock

from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.store_health import RETRY_SECONDS


def test_a_clock_that_goes_back_does_not_put_off_the_next_try(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.journal.close()
    block(state.root)
    state.now += 10 * 365 * 86400
    state.open()
    assert [trouble.name for trouble in state.sample_store.troubles] == ["journal"]
    unblock(state.root)
    state.now -= 10 * 365 * 86400
    state.sample_store.retry()
    assert state.sample_store.troubles == ()


def test_a_journal_that_fails_is_said_once_and_comes_back_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "state"
    state = State(root)
    state.take(Sample("a", START))
    block(root)
    for _ in range(3):
        with pytest.raises(StorageError) as refused:
            state.take(Sample("a", START + 1))
        assert refused.value.shown is not None
        assert str(root) not in refused.value.shown
        assert refused.value.shown.startswith("The journal does not work: journal.db: ")
    (trouble,) = state.sample_store.troubles
    assert (trouble.name, trouble.since) == ("journal", state.now)
    assert trouble.reason is not None
    assert "journal.db: " in trouble.reason
    assert str(root) not in trouble.reason
    assert caplog.text.count("the journal does not work") == 1
    assert state.slots_of("a") == [START], "what is there goes on being forecast"
    unblock(root)
    state.now += RETRY_SECONDS
    state.sample_store.retry()
    assert state.sample_store.troubles == ()
    state.take(Sample("a", START + 1))
    state.restart()
    assert state.slots_of("a") == [START, START + 1]
