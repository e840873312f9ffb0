from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.sample_stores import LENGTH, START, State, block, unblock

from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.backfill import Backfill, Filled
from nordiq_watch.storage.archive import oldest_kept

NOW = (START + 41) * 300.0
"""Slot START + 40 is the newest that is over."""

Cells = dict[tuple[str, int], dict[str, float]]


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path, now=NOW)


def fill(state: State, *samples: Sample) -> Filled:
    backfill = Backfill(state.sample_store, state.window, state.archive, clock=lambda: state.now)
    return backfill.fill(make_batch(samples))


def counts(filled: Filled) -> tuple[int, int, int, int]:
    return filled.window, filled.archive, filled.unchanged, filled.unfinished


def sample(server: str, slot: int, offset: int = 0, **values: float) -> Sample:
    return Sample(server, START + slot, values, offset=offset)


def archived(state: State) -> Cells:
    return {
        (batch.servers[row], int(slot) - START): known(values.tolist())
        for batch in state.archive.replay(0, 10 * START)
        for row, slot, values in zip(batch.rows, batch.slots, batch.values, strict=True)
    }


def windowed(state: State) -> Cells:
    snapshot, found = state.window.snapshot(), {}
    for row, server in enumerate(snapshot.servers):
        for column in range(LENGTH):
            if values := known(snapshot.values[row, column].tolist()):
                found[server, snapshot.last_slot - LENGTH + 1 + column - START] = values
    return found


def known(values: Sequence[float]) -> dict[str, float]:
    return {name: value for name, value in zip(METRICS, values, strict=True) if value == value}


def newer_than(cells: Mapping[tuple[str, int], dict[str, float]], slot: int) -> Cells:
    return {cell: values for cell, values in cells.items() if cell[1] > slot}


def test_what_is_older_than_the_window_goes_to_the_archive_alone_and_survives_a_kill(state: State) -> None:
    made = [sample("a", slot, cpu_user_pct=float(slot)) for slot in range(41)]
    assert counts(fill(state, *made)) == (LENGTH, 41 - LENGTH, 0, 0)
    everything = {("a", slot): {"cpu_user_pct": float(slot)} for slot in range(41)}
    assert windowed(state) == newer_than(everything, 40 - LENGTH)
    state.restart()
    assert windowed(state) == newer_than(everything, 40 - LENGTH)
    state.sample_store.checkpoint()
    assert archived(state) == everything


def test_importing_twice_changes_nothing(state: State) -> None:
    made = [sample("a", slot, cpu_user_pct=float(slot), mem_used_pct=3.0) for slot in range(41)]
    fill(state, *made)
    before = windowed(state), archived(state)
    other = [sample("a", slot, cpu_user_pct=99.0) for slot in range(41)]
    assert counts(fill(state, *made)) == counts(fill(state, *other)) == (0, 0, 41, 0)
    assert (windowed(state), archived(state)) == before


def test_what_was_measured_live_stays_and_what_it_lacks_is_added(state: State) -> None:
    state.take(sample("a", 39, cpu_user_pct=1.0), sample("a", 40, 7000, cpu_user_pct=1.0))
    state.take(sample("a", 40, 9000, cpu_user_pct=3.0))
    filled = fill(
        state,
        sample("a", 38, cpu_user_pct=50.0),
        sample("a", 39, cpu_user_pct=50.0, mem_used_pct=60.0),
        sample("a", 40, cpu_user_pct=50.0, mem_used_pct=61.0),
        sample("b", 40, cpu_user_pct=50.0),
    )
    assert counts(filled) == (4, 0, 0, 0)
    expected = {
        ("a", 38): {"cpu_user_pct": 50.0},
        ("a", 39): {"cpu_user_pct": 1.0, "mem_used_pct": 60.0},
        ("a", 40): {"cpu_user_pct": 2.0, "mem_used_pct": 61.0},
        ("b", 40): {"cpu_user_pct": 50.0},
    }
    assert windowed(state) == expected
    state.restart()
    assert windowed(state) == expected


def test_a_slot_of_the_archive_keeps_what_it_has(state: State) -> None:
    fill(state, sample("a", 3, cpu_user_pct=1.0), sample("b", 3, cpu_user_pct=2.0), sample("z", 40, cpu_user_pct=0.0))
    more = [sample(server, 3, cpu_user_pct=9.0, mem_used_pct=4.0) for server in "bac"]
    assert counts(fill(state, *more)) == (0, 3, 0, 0)
    assert {cell: values for cell, values in archived(state).items() if cell[1] == 3} == {
        ("a", 3): {"cpu_user_pct": 1.0, "mem_used_pct": 4.0},
        ("b", 3): {"cpu_user_pct": 2.0, "mem_used_pct": 4.0},
        ("c", 3): {"cpu_user_pct": 9.0, "mem_used_pct": 4.0},
    }


def test_the_samples_of_a_slot_are_its_mean_in_window_and_archive(state: State) -> None:
    of_slot = [(0, 10.0), (60_000, 20.0), (120_000, 60.0), (60_000, 50.0)]  # the last takes the place of the second
    made = [sample("a", slot, offset, cpu_user_pct=value) for slot in (2, 40) for offset, value in of_slot]
    assert counts(fill(state, *made)) == (1, 1, 0, 0)
    assert windowed(state) == {("a", 40): {"cpu_user_pct": 40.0}}
    assert archived(state)["a", 2] == {"cpu_user_pct": 40.0}


def test_a_slot_that_is_not_over_is_left_to_the_feed(state: State) -> None:
    filled = fill(
        state,
        sample("a", 40, cpu_user_pct=1.0),
        sample("a", 41, cpu_user_pct=1.0),
        sample("a", 41, 5, mem_used_pct=1.0),
    )
    assert counts(filled) == (1, 0, 0, 1)
    assert windowed(state) == {("a", 40): {"cpu_user_pct": 1.0}}


def test_servers_without_room_are_refused_and_counted(tmp_path: Path) -> None:
    state = State(tmp_path, now=NOW, max_servers=1)
    state.take(sample("a", 40, cpu_user_pct=1.0))
    filled = fill(state, sample("b", 39, cpu_user_pct=1.0), sample("b", 40, cpu_user_pct=1.0))
    assert (filled.window, filled.refused, filled.eviction.refused) == (0, 2, ("b",))


def test_a_server_that_was_deleted_comes_back_with_what_is_imported(state: State) -> None:
    state.take(sample("a", 39, cpu_user_pct=1.0), sample("z", 40, cpu_user_pct=1.0))
    state.sample_store.forget("a")
    fill(state, sample("a", 38, cpu_user_pct=5.0))
    expected = {("a", 38): {"cpu_user_pct": 5.0}, ("z", 40): {"cpu_user_pct": 1.0}}
    assert windowed(state) == expected
    state.sample_store.checkpoint()
    state.restart()
    assert windowed(state) == expected


def test_without_an_archive_nothing_is_answered_as_taken_and_the_same_again_goes_on(state: State) -> None:
    made = [sample("a", slot, cpu_user_pct=1.0) for slot in range(41)]
    (state.root / "archive").mkdir(exist_ok=True)
    block(state.root / "archive")
    with pytest.raises(StorageError):
        fill(state, *made)
    unblock(state.root / "archive")
    state.now += 60
    assert sum(counts(fill(state, *made))) == 41
    state.sample_store.checkpoint()
    assert len(archived(state)) == 41


SAMPLES = st.builds(
    Sample,
    server=st.sampled_from("ab"),
    slot=st.integers(0, 40).map(lambda slot: START + slot),
    values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), min_size=1),
    offset=st.sampled_from([0, 1000]),
)


@settings(max_examples=40, deadline=None)
@given(live=st.lists(SAMPLES, max_size=6), history=st.lists(st.lists(SAMPLES, min_size=1, max_size=8), max_size=4))
def test_nothing_that_is_there_ever_changes(
    live: list[Sample], history: list[list[Sample]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    state = State(tmp_path_factory.mktemp("state"), now=NOW)
    for one in live:
        state.take(one)
    for part in history:
        state.sample_store.checkpoint()
        before = archived(state)
        fill(state, *part)
        state.sample_store.checkpoint()
        state.restart()
        after = archived(state)
        for cell, values in before.items():
            assert after[cell].items() >= values.items()
        for one in part:
            assert after[one.server, one.slot - START].keys() >= one.values.keys()
        newest = (state.window.newest_slot or 0) - START
        assert windowed(state) == newer_than(after, newest - LENGTH)


def test_the_archive_has_room_for_whole_days() -> None:
    day = 86_400
    assert oldest_kept(10.5 * day, days=3, interval_seconds=300) == 8 * 288
    assert oldest_kept(10.5 * day, days=3, interval_seconds=50_000) == 14  # the first that begins then
    assert oldest_kept(1.0 * day, days=30, interval_seconds=300) == 0
