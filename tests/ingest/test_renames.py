"""Servers that get other names: as if they had had them from the beginning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, samples_of
from support.sample_stores import START, State

from nordiq_watch.errors import StorageError
from nordiq_watch.ingest.build import finish_renaming
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

NAMES = {"a": "a@x", "gone": "gone@x"}
SAMPLES = st.builds(
    Sample,
    server=st.sampled_from("abc"),
    slot=st.integers(-3, 4).map(lambda slot: START + slot),  # four of them have not begun
    values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), min_size=1),
    status=st.integers(0, 3),
)
BATCHES = st.lists(st.lists(SAMPLES, min_size=1, max_size=4), max_size=5)


def make_state(root: Path) -> State:
    return State(root, future_seconds=1500.0)


def renamed(samples: Sequence[Sample]) -> list[Sample]:
    return [replace(sample, server=NAMES.get(sample.server, sample.server)) for sample in samples]


def content_of(state: State) -> tuple[dict[str, list[Sample]], list[list[Sample]]]:
    """What window, early samples and archive have, once all slots have begun and all of it is archived."""
    state.now += 5 * 300.0
    state.sample_store.store_due()
    state.sample_store.checkpoint()
    return window_of(state.window), [sorted(samples_of(batch), key=str) for batch in state.archive.replay(0, 2 * START)]


def window_of(window: Window) -> dict[str, list[Sample]]:
    slots = range(START - 12, START + 6)
    found = [sample for slot in slots if (batch := window.slice(slot)) is not None for sample in samples_of(batch)]
    return {server: [one for one in found if one.server == server] for server in {one.server for one in found}}


def fail_to_rename(state: State) -> None:
    """The archive has the new names, the journal has not."""

    def fail(journal: Journal, names: Mapping[str, str]) -> None:
        raise StorageError("the disk fails here")

    with pytest.MonkeyPatch.context() as failing:
        failing.setattr(Journal, "rename", fail)
        with pytest.raises(StorageError):
            state.sample_store.rename(NAMES, lambda: pytest.fail("nothing is renamed yet"))
    state.now += 10.0  # a disk that failed is tried again after some seconds


def test_rows_that_came_while_the_renaming_failed_join_those_that_were_renamed(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.take(Sample("a", START - 1, {"cpu_user_pct": 1.0}, profile="web"))
    fail_to_rename(state)
    state.take(Sample("a", START, {"cpu_user_pct": 2.0}), Sample("b", START, {"cpu_user_pct": 3.0}))
    state.sample_store.rename(NAMES, lambda: None)
    state.sample_store.checkpoint()
    kept = [sample for batch in state.archive.replay(0, 2 * START) for sample in samples_of(batch)]
    assert [(one.server, one.slot) for one in kept] == [("a@x", START - 1), ("a@x", START), ("b", START)]
    state.restart()
    assert state.slots_of("a@x") == [START - 1, START]
    assert not state.window.tracks("a")


@pytest.mark.slow
@settings(max_examples=40)
@given(before=BATCHES, between=BATCHES, after=BATCHES, restarts=st.tuples(*[st.booleans()] * 3))
def test_window_and_archive_are_as_if_the_names_had_always_been_these(
    before: list[list[Sample]],
    between: list[list[Sample]],
    after: list[list[Sample]],
    restarts: tuple[bool, bool, bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """between: comes under the old names, after the archive has the new ones and the journal failed."""
    state, always = (make_state(tmp_path_factory.mktemp("state")) for _ in range(2))
    for batch in before:
        state.take(*batch)
        always.take(*renamed(batch))
    if restarts[0]:
        state.restart()
    fail_to_rename(state)
    for batch in between:
        state.take(*batch)
        always.take(*renamed(batch))
    if restarts[1]:
        state.journal.close()
        finish_renaming(state.archive, state.journal, NAMES)
        state.restart()
    state.sample_store.rename(NAMES, lambda: None)
    if restarts[2]:
        state.restart()
    for batch in after:
        state.take(*renamed(batch))
        always.take(*renamed(batch))
    assert content_of(state) == content_of(always)


def test_what_was_begun_before_a_crash_is_finished_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The crash comes after one of two days."""
    state = State(tmp_path)
    day = 288
    first = START // day * day  # the begin of a day
    state.now = (first + 1) * 300.0
    state.take(Sample("a", first - 1, {"cpu_user_pct": 1.0}), Sample("a", first, {"cpu_user_pct": 2.0}))
    state.sample_store.checkpoint()
    yesterday = min(state.archive.files().values())

    def crash(archive: Archive, names: Mapping[str, str]) -> None:
        file = archive._open(yesterday)
        file.rename(names)
        file.close()
        raise StorageError("the power fails here")

    with monkeypatch.context() as crashing:
        crashing.setattr(Archive, "rename", crash)
        with pytest.raises(StorageError):
            state.sample_store.rename(NAMES, lambda: pytest.fail("nothing is renamed yet"))
    assert state.slots_of("a") == [first - 1, first]
    state.journal.close()
    finish_renaming(state.archive, state.journal, NAMES)
    state.restart()
    assert state.slots_of("a@x") == [first - 1, first]
    assert not state.window.tracks("a")
    state.sample_store.rename(NAMES, lambda: None)
    assert state.slots_of("a@x") == [first - 1, first]
    assert not state.window.tracks("a")


def test_a_deleted_server_does_not_come_back_under_its_new_name(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.take(Sample("a", START, {"cpu_user_pct": 1.0}), Sample("b", START, {"cpu_user_pct": 1.0}))
    assert state.sample_store.forget("a")
    state.sample_store.rename(NAMES, lambda: None)
    state.restart()
    assert list(window_of(state.window)) == ["b"]
    kept: list[Batch] = list(state.archive.replay(0, 2 * START))
    assert [sample.server for sample in samples_of(kept[0])] == ["a@x", "b"], "for training"
