from __future__ import annotations

import logging
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch, samples_of
from support.sample_stores import LENGTH, START, State
from support.slow_window import SlowWindow

from nordiq_watch.errors import StorageError
from nordiq_watch.ingest import checkpoint_times
from nordiq_watch.ingest import sample_store as module
from nordiq_watch.ingest.window import Window
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.journal_file import Ended


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


SAMPLES = st.builds(
    Sample,
    server=st.sampled_from("abc"),
    slot=st.integers(0, 40).map(lambda slot: START + slot),
    values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), min_size=1),
    status=st.integers(0, 3),
    offset=st.sampled_from([0, 0, 1000, 299_999]),
)
STEPS = st.lists(
    st.one_of(st.lists(SAMPLES, min_size=1, max_size=5), st.sampled_from(["restart", "settle", "settle, then killed"])),
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(steps=STEPS)
def test_whatever_happens_the_window_is_the_slow_one(
    steps: list[list[Sample] | str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = State(tmp_path_factory.mktemp("state"), now=(START + 50) * 300.0)
    slow = SlowWindow(length=LENGTH, silent_slots=10**6)
    for step in steps:
        if isinstance(step, list):
            state.take(*step)
            slow.apply(step)
        elif step == "restart":
            state.restart()
        elif step == "settle":
            state.sample_store.checkpoint()
        else:  # between the archive and the emptying of the journal
            state.journal.clear = lambda **_: None  # type: ignore[method-assign]
            state.sample_store.checkpoint()
            state.restart()
        assert state.window.newest_slot == slow.newest
        assert state.window.size == slow.size()
    state.restart()
    assert cells_of(state.window) == cells_of_slow(slow)


def cells_of_slow(slow: SlowWindow) -> dict[str, dict[int, tuple[dict[str, float], int]]]:
    """Server → slot → values and status, without silent servers."""
    if slow.newest is None:
        return {}
    return {
        server: {slot: (cell.values, cell.status) for slot, cell in cells.items()}
        for server, (_, cells) in slow.shown().items()
    }


def cells_of(window: Window) -> dict[str, dict[int, tuple[dict[str, float], int]]]:
    """The same of the real one."""
    snapshot, found = window.snapshot(), {}
    for row, server in enumerate(snapshot.servers):
        found[server] = {
            snapshot.last_slot - LENGTH + 1 + column: (
                {name: float(v) for name, v in zip(METRICS, snapshot.values[row, column], strict=True) if v == v},
                int(snapshot.statuses[row, column]),
            )
            for column in range(LENGTH)
            if not np.isnan(snapshot.values[row, column]).all()
        }
    return found


@dataclass(frozen=True)
class Forget:
    server: str


ENDING_STEPS = st.lists(
    st.one_of(
        st.lists(SAMPLES, min_size=1, max_size=4),
        st.lists(SAMPLES, min_size=1, max_size=4),
        st.sampled_from("abc").map(Forget),
        st.sampled_from(["restart", "settle", "settle, then killed", "archive away", "archive back"]),
    ),
    max_size=16,
)


def take_slowly(slow: SlowWindow, samples: list[Sample]) -> list[Sample]:
    """What is refused changes nothing. Returns what was taken."""
    rest = samples
    while rest and (refused := deepcopy(slow).apply(rest)):
        rest = [sample for sample in rest if sample.server not in refused]
    slow.apply(rest)
    return rest


@pytest.mark.slow
@settings(max_examples=80, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(steps=ENDING_STEPS)
def test_servers_that_ended_stay_away_after_a_restart_and_their_samples_stay_in_the_archive(
    steps: list[list[Sample] | Forget | str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = State(tmp_path_factory.mktemp("state"), now=(START + 50) * 300.0, max_servers=2, silent_seconds=2 * 300)
    slow = SlowWindow(length=LENGTH, silent_slots=2, max_servers=2)
    accepted: set[tuple[str, int]] = set()
    for step in steps:
        if isinstance(step, list):
            taken = take_slowly(slow, step)
            eviction = state.sample_store.store(make_batch(step))
            assert set(eviction.refused) == {sample.server for sample in step} - {sample.server for sample in taken}
            accepted |= {(sample.server, sample.slot) for sample in taken}
        elif isinstance(step, Forget):
            assert state.sample_store.forget(step.server) == (step.server in slow.cells)
            if step.server in slow.cells:
                slow.forget(step.server)
        elif step == "restart":
            state.restart()
        elif step == "settle":
            state.sample_store.checkpoint()
        elif step == "settle, then killed":
            state.journal.clear = lambda **_: None  # type: ignore[method-assign]
            state.sample_store.checkpoint()
            state.restart()
        elif step == "archive away":
            state.archive.write = refuse_to_write  # type: ignore[method-assign]
        else:
            state.archive.__dict__.pop("write", None)
            state.now += 60
        assert {name for name in "abc" if state.window.tracks(name)} == set(slow.cells)
        assert state.window.size == slow.size()
    state.archive.__dict__.pop("write", None)
    state.now += 60
    state.restart()
    assert cells_of(state.window) == cells_of_slow(slow)
    assert {name for name in "abc" if state.window.tracks(name)} == set(slow.cells)
    state.sample_store.checkpoint()
    archived = [sample for batch in state.archive.replay(0, 2 * START) for sample in samples_of(batch)]
    assert {(sample.server, sample.slot) for sample in archived} == accepted
    state.journal.close()


def refuse_to_write(slices: object) -> None:
    raise StorageError("the archive's disk is full")


def test_who_ended_is_forgotten_with_the_window(state: State) -> None:
    state.now += 100 * 300
    state.take(Sample("a", START), Sample("b", START))
    assert state.sample_store.forget("a")
    state.sample_store.checkpoint()
    assert state.journal.ended() == {"a": Ended(START)}
    for slot in range(1, LENGTH + 1):
        state.take(Sample("b", START + slot))
    state.sample_store.checkpoint()
    assert state.journal.ended() == {}


def test_a_journal_that_cannot_be_read_at_the_start_brings_no_server_back(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.take(Sample("a", START), Sample("b", START))
    state.sample_store.checkpoint()
    assert state.sample_store.forget("a")
    state.journal.close()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open_file", lambda self: refuse_to_write(None))
        state.open()
        assert state.window.tracks("b"), "forecasts go on with what the archive has"
    state.now += 60
    state.take(Sample("b", START))
    assert [name for name in "ab" if state.window.tracks(name)] == ["b"]


@pytest.mark.parametrize("limit", ["CHECKPOINT_BATCHES", "CHECKPOINT_BYTES"])
def test_the_journal_stays_small(state: State, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_times, limit, 3)
    for _ in range(10):
        state.take(Sample("a", START))
    assert len(list(state.journal.replay(0))) < 3
    state.restart()
    assert state.slots_of("a") == [START]


def test_while_no_batch_comes_the_archive_is_brought_up_to_date_but_not_all_the_time(state: State) -> None:
    state.take(Sample("a", START - 1), Sample("a", START))
    state.sample_store.checkpoint_when_idle()
    assert state.archive_slots() == [START - 1, START]
    assert [len(batch.rows) for batch in state.journal.replay(0)] == [1, 1], "one batch for each open slot"
    state.take(Sample("a", START + 1))
    state.sample_store.checkpoint_when_idle()
    assert state.archive_slots() == [START - 1, START]
    state.now += module.IDLE_SECONDS
    state.sample_store.checkpoint_when_idle()
    assert state.archive_slots() == [START - 1, START, START + 1]


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_what_only_a_lost_journal_had_is_durable_again_with_the_next_batch(state: State, harm: str) -> None:
    state.take(Sample("a", START))
    path = state.root / "journal.db"
    if harm == "deleted":
        for file in state.root.glob("journal.db*"):
            file.unlink()
    else:
        state.journal.close()
        path.write_bytes(b"rubbish" * 5000)
    state.take(Sample("a", START + 1))
    state.restart()
    assert state.slots_of("a") == [START, START + 1]


@pytest.mark.parametrize("suffixes", [("", "-wal", "-shm"), ("-wal",)])
def test_a_journal_that_is_deleted_is_noticed_without_a_batch_and_its_samples_are_durable_again(
    state: State, suffixes: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nordiq_watch")
    state.take(Sample("a", START), Sample("b", START))
    for suffix in suffixes:
        state.root.joinpath(f"journal.db{suffix}").unlink()
    state.sample_store.retry()
    assert "the journal does not work: it was deleted or replaced while it was open" in caplog.text
    assert "the journal works again" in caplog.text
    assert state.sample_store.troubles == ()
    assert state.archive_slots() == [START]
    assert "lost" not in caplog.text
    state.restart()
    assert (state.slots_of("a"), state.slots_of("b")) == ([START], [START])


def test_what_a_damaged_log_lost_is_counted(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.take(Sample("a", START))
    shutil.copytree(state.root, tmp_path / "killed")
    (tmp_path / "killed" / "journal.db-wal").write_bytes(b"")
    again = State(tmp_path / "killed")
    assert again.sample_store._health.journal.dropped == 1
    assert again.sample_store.troubles == ()


class TestAFastClock:
    """`window.future_seconds` is five slots here: one host sends ahead of all others."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> State:
        return State(tmp_path, now=(START + 0.5) * 300.0, future_seconds=5 * 300.0)

    def test_its_samples_wait_until_their_slot_has_begun(self, state: State) -> None:
        state.take(Sample("a", START), *(Sample("fast", START + ahead) for ahead in range(5)))
        assert state.window.newest_slot == START
        assert state.slots_of("fast") == [START]
        for later in range(1, 5):
            state.now += 300.0
            state.take(Sample("a", START + later))
            assert state.window.newest_slot == START + later
            assert state.slots_of("fast") == state.slots_of("a") == list(range(START, START + later + 1))

    def test_they_come_without_another_batch(self, state: State) -> None:
        state.take(Sample("fast", START), Sample("fast", START + 1))
        assert state.sample_store.store_due() is None
        state.now += 300.0
        assert state.sample_store.store_due() is not None
        assert state.slots_of("fast") == [START, START + 1]

    @pytest.mark.parametrize("settled", [False, True])
    def test_a_restart_keeps_them_waiting(self, state: State, settled: bool) -> None:
        state.take(Sample("fast", START), Sample("fast", START + 1, {"cpu_user_pct": 7.0}))
        if settled:
            assert state.sample_store.checkpoint()
        state.restart()
        assert state.window.newest_slot == START
        state.now += 300.0
        assert state.sample_store.store_due() is not None
        assert state.slots_of("fast") == [START, START + 1]

    def test_one_that_is_forgotten_does_not_come_back_with_them(self, state: State) -> None:
        state.take(Sample("fast", START), Sample("fast", START + 1), Sample("a", START))
        state.sample_store.forget("fast")
        state.now += 300.0
        state.sample_store.store_due()
        assert not state.window.tracks("fast")
