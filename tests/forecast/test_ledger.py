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
from support.slow_window import SlowWindow

from nordiq_watch.errors import StorageError
from nordiq_watch.forecast import ledger as module
from nordiq_watch.forecast.ledger import Ledger
from nordiq_watch.forecast.window import Window
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
from nordiq_watch.storage.journal_file import Ended

LENGTH = 12
START = 5_000_000  # a slot


@dataclass
class State:
    """A ledger on real files, with a clock of its own."""

    root: Path
    now: float = (START + 1) * 300.0
    max_servers: int = 99
    silent_seconds: float = 10**6

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Starts over on the same files, as after kill -9."""
        self.window = Window(
            METRICS,
            interval_seconds=300,
            length=LENGTH,
            max_servers=self.max_servers,
            silent_seconds=self.silent_seconds,
        )
        self.journal = Journal(self.root / "journal.db", metrics=METRICS, interval_seconds=300)
        self.archive = Archive(self.root / "archive", metrics=METRICS, interval_seconds=300, days=30)
        self.ledger = Ledger(self.journal, self.archive, self.window, future_seconds=300, clock=lambda: self.now)
        self.ledger.restore()

    def restart(self) -> None:
        self.journal.close()
        self.open()

    def take(self, *samples: Sample) -> None:
        self.ledger.follow_clock()
        self.ledger.take(make_batch(samples))

    def slots_of(self, server: str) -> list[int]:
        snapshot = self.window.snapshot()
        there = ~np.isnan(snapshot.values[snapshot.servers.index(server)]).all(axis=1)
        return (snapshot.last_slot - LENGTH + 1 + np.flatnonzero(there)).tolist()

    def archive_slots(self) -> list[int]:
        return [samples_of(batch)[0].slot for batch in self.archive.replay(0, 10 * START)]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


SAMPLES = st.builds(
    Sample,
    server=st.sampled_from("abc"),
    slot=st.integers(0, 40).map(lambda slot: START + slot),
    values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), min_size=1),
    status=st.integers(0, 3),
)
STEPS = st.lists(
    st.one_of(st.lists(SAMPLES, min_size=1, max_size=5), st.sampled_from(["restart", "settle", "settle, then killed"])),
    max_size=14,
)


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
            state.ledger.settle()
        else:  # between the archive and the emptying of the journal
            state.journal.clear = lambda **_: None  # type: ignore[method-assign]
            state.ledger.settle()
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
            seating = state.ledger.take(make_batch(step))
            assert set(seating.refused) == {sample.server for sample in step} - {sample.server for sample in taken}
            accepted |= {(sample.server, sample.slot) for sample in taken}
        elif isinstance(step, Forget):
            assert state.ledger.forget(step.server) == (step.server in slow.cells)
            if step.server in slow.cells:
                slow.forget(step.server)
        elif step == "restart":
            state.restart()
        elif step == "settle":
            state.ledger.settle()
        elif step == "settle, then killed":
            state.journal.clear = lambda **_: None  # type: ignore[method-assign]
            state.ledger.settle()
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
    state.ledger.settle()
    archived = [sample for batch in state.archive.replay(0, 2 * START) for sample in samples_of(batch)]
    assert {(sample.server, sample.slot) for sample in archived} == accepted
    state.journal.close()


def refuse_to_write(slices: object) -> None:
    raise StorageError("the archive's disk is full")


def test_who_ended_is_forgotten_with_the_window(state: State) -> None:
    state.now += 100 * 300
    state.take(Sample("a", START), Sample("b", START))
    assert state.ledger.forget("a")
    state.ledger.settle()
    assert state.journal.ended() == {"a": Ended(START)}
    for slot in range(1, LENGTH + 1):
        state.take(Sample("b", START + slot))
    state.ledger.settle()
    assert state.journal.ended() == {}


def test_a_journal_that_cannot_be_read_at_the_start_brings_no_server_back(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.take(Sample("a", START), Sample("b", START))
    state.ledger.settle()
    assert state.ledger.forget("a")
    state.journal.close()
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_open_file", lambda self: refuse_to_write(None))
        state.open()
        assert state.window.tracks("b"), "forecasts go on with what the archive has"
    state.now += 60
    state.take(Sample("b", START))
    assert [name for name in "ab" if state.window.tracks(name)] == ["b"]


def test_the_archive_keeps_what_left_the_window(state: State) -> None:
    state.now += 100 * 300
    for slot in range(3 * LENGTH):
        state.take(Sample("a", START + slot))
    state.ledger.settle()
    assert state.archive_slots() == [START + slot for slot in range(3 * LENGTH)]
    assert list(state.journal.replay(0)) == []


def test_a_jump_forward_writes_what_it_clears_to_the_archive_first(state: State) -> None:
    state.now += 1000 * 300
    state.take(Sample("a", START))
    state.take(Sample("a", START + 1000))
    assert state.archive_slots()[0] == START


@pytest.mark.parametrize("limit", ["SETTLE_BATCHES", "SETTLE_BYTES"])
def test_the_journal_stays_small(state: State, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, 3)
    for _ in range(10):
        state.take(Sample("a", START))
    assert len(list(state.journal.replay(0))) < 3
    state.restart()
    assert state.slots_of("a") == [START]


def test_while_no_batch_comes_the_archive_is_brought_up_to_date_but_not_all_the_time(state: State) -> None:
    state.take(Sample("a", START - 1), Sample("a", START))
    state.ledger.rest()
    assert state.archive_slots() == [START - 1, START]
    assert list(state.journal.replay(0)) == []
    state.take(Sample("a", START + 1))
    state.ledger.rest()
    assert state.archive_slots() == [START - 1, START]
    state.now += module.REST_SECONDS
    state.ledger.rest()
    assert state.archive_slots() == [START - 1, START, START + 1]


# --- the daemon's clock ---


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


def test_after_a_clock_went_back_the_archive_is_written_as_ever(state: State) -> None:
    state.take(Sample("a", START))
    state.now += 10 * 365 * 86400
    state.take(Sample("a", int(state.now // 300)))
    state.now -= 10 * 365 * 86400
    for slot in range(START, START + 6):
        state.now = slot * 300.0
        state.take(Sample("a", slot))
    assert {START, START + 1, START + 2} < set(state.archive_slots())


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
    state.now += module.RETRY_SECONDS
    state.take(Sample("a", START))
    assert state.slots_of("a") == [START]


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
    assert [trouble.name for trouble in state.ledger.troubles] == ["archive"]
    if restarted:
        state.restart()
    unblock(state.root / "archive")
    state.now += module.RETRY_SECONDS
    assert state.ledger.settle()
    assert state.archive_slots() == list(range(START, START + 3 * LENGTH))
    assert list(state.journal.replay(0)) == []


def test_a_clock_that_goes_back_does_not_put_off_the_next_try(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.journal.close()
    block(state.root)
    state.now += 10 * 365 * 86400
    state.open()
    assert [trouble.name for trouble in state.ledger.troubles] == ["journal"]
    unblock(state.root)
    state.now -= 10 * 365 * 86400
    state.ledger.tend()
    assert state.ledger.troubles == ()


def test_a_journal_with_samples_from_ahead_of_the_clock_is_emptied_like_any_other(state: State) -> None:
    state.now += 10 * 365 * 86400
    ahead = int(state.now // 300)
    state.take(Sample("a", ahead))
    state.ledger.settle()
    state.take(Sample("a", ahead, {"mem_used_pct": 2.0}), Sample("b", ahead - LENGTH))
    state.take(Sample("b", ahead - 1))
    state.now = START * 300.0
    state.restart()
    for slot in range(START, START + 5):
        state.now = slot * 300.0
        state.take(Sample("a", slot))
    assert {slot for batch in state.journal.replay(0) for slot in batch.slots.tolist()} == {START + 4}
    kept = [sample for batch in state.archive.replay(ahead - LENGTH, ahead) for sample in samples_of(batch)]
    assert kept == [
        Sample("b", ahead - LENGTH),
        Sample("b", ahead - 1),
        Sample("a", ahead, {"cpu_user_pct": 1.0, "mem_used_pct": 2.0}),
    ]
    state.now = ahead * 300.0
    state.take(Sample("b", ahead))
    assert (state.slots_of("a"), state.slots_of("b")) == ([ahead], [ahead - 1, ahead])


@pytest.mark.parametrize("settled", [True, False])
def test_a_machine_that_boots_in_1970_has_its_window_when_the_clock_is_set(
    state: State, settled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    state.take(Sample("a", START))
    if settled:
        state.ledger.settle()
    true_time, state.now = state.now, 100.0
    state.restart()
    assert state.window.newest_slot is None
    said = "samples from 2017-07-14 02:40:00Z on are ahead of this machine's clock, and wait: is it right?"
    assert caplog.messages[-1] == said
    state.now = true_time + 300
    state.take(Sample("a", START + 1))
    assert state.slots_of("a") == [START, START + 1]
    state.ledger.settle()
    state.restart()
    assert state.slots_of("a") == [START, START + 1]


# --- trouble ---


def block(path: Path) -> None:
    """Nothing can be opened or made there, not even by root."""
    path.rename(path.with_name(f"{path.name}-away"))
    path.write_text("in the way")


def unblock(path: Path) -> None:
    path.unlink()
    path.with_name(f"{path.name}-away").rename(path)


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
        assert refused.value.shown is not None and str(root) not in refused.value.shown
        assert refused.value.shown.startswith("The journal does not work: journal.db: ")
    (trouble,) = state.ledger.troubles
    assert (trouble.name, trouble.since) == ("journal", state.now)
    assert trouble.reason is not None and "journal.db: " in trouble.reason and str(root) not in trouble.reason
    assert caplog.text.count("the journal does not work") == 1
    assert state.slots_of("a") == [START], "what is there goes on being forecast"
    unblock(root)
    state.now += module.RETRY_SECONDS
    state.ledger.tend()
    assert state.ledger.troubles == ()
    state.take(Sample("a", START + 1))
    state.restart()
    assert state.slots_of("a") == [START, START + 1]


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
    state.ledger.tend()
    assert "the journal does not work: it was deleted or replaced while it was open" in caplog.text
    assert "the journal works again" in caplog.text and state.ledger.troubles == ()
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
    assert again.ledger._parts["journal"].dropped == 1 and again.ledger.troubles == ()


def test_a_start_without_a_disk_goes_on_when_it_is_there(tmp_path: Path) -> None:
    root = tmp_path / "state"
    state = State(root)
    state.take(Sample("a", START))
    state.journal.close()
    block(root)
    state.open()
    assert {trouble.name for trouble in state.ledger.troubles} >= {"journal"}
    with pytest.raises(StorageError):
        state.take(Sample("a", START + 1))
    unblock(root)
    state.now += module.RETRY_SECONDS
    state.take(Sample("a", START + 1))
    assert state.ledger.troubles == ()
    assert state.slots_of("a") == [START, START + 1]


def test_a_archive_that_cannot_be_read_is_not_written_over(state: State, tmp_path: Path) -> None:
    state.take(Sample("a", START), Sample("b", START))
    state.ledger.settle()
    state.journal.close()
    day = next(iter(state.archive.files().values()))
    shutil.copy(day, tmp_path / "copy")
    day.unlink()
    day.mkdir()
    state.open()
    assert [trouble.name for trouble in state.ledger.troubles] == ["archive"]
    state.take(Sample("a", START))
    assert not state.ledger.settle()
    day.rmdir()
    shutil.copy(tmp_path / "copy", day)
    state.now += module.RETRY_SECONDS
    state.ledger.tend()
    assert state.ledger.troubles == ()
    assert (state.slots_of("a"), state.slots_of("b")) == ([START], [START])
    state.restart()
    assert state.slots_of("b") == [START]


class TestAFastClock:
    """`window.future_seconds` is five slots here: one host sends ahead of all others."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> State:
        state = State(tmp_path, now=(START + 0.5) * 300.0)
        state.ledger._future_seconds = 5 * 300.0
        return state

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
        assert state.ledger.release() is None
        state.now += 300.0
        assert state.ledger.release() is not None
        assert state.slots_of("fast") == [START, START + 1]

    @pytest.mark.parametrize("settled", [False, True])
    def test_a_restart_keeps_them_waiting(self, state: State, settled: bool) -> None:
        state.take(Sample("fast", START), Sample("fast", START + 1, {"cpu_user_pct": 7.0}))
        if settled:
            assert state.ledger.settle()
        state.restart()
        assert state.window.newest_slot == START
        state.now += 300.0
        assert state.ledger.release() is not None
        assert state.slots_of("fast") == [START, START + 1]

    def test_one_that_is_forgotten_does_not_come_back_with_them(self, state: State) -> None:
        state.take(Sample("fast", START), Sample("fast", START + 1), Sample("a", START))
        state.ledger.forget("fast")
        state.now += 300.0
        state.ledger.release()
        assert not state.window.tracks("fast")
