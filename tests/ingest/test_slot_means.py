"""A slot is the aggregate of its samples, whatever order they come in: against a slow model over the whole set."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample
from support.sample_stores import LENGTH, START, State

from nordiq_watch.ingest import lateness as lateness_module

AGGREGATES = {"mem_used_pct": "max", "load_average": "last"}
KNOWN = (*METRICS, "load_average")

samples = st.builds(
    Sample,
    server=st.sampled_from("ab"),
    slot=st.integers(START - 3, START),
    values=st.dictionaries(st.sampled_from(KNOWN), st.floats(0, 2.0**39, width=32), min_size=1, max_size=3),
    status=st.integers(0, 2),
    offset=st.integers(0, 5).map(lambda step: step * 59_999),
)


def moment_of(sample: Sample) -> tuple[str, int, int]:
    return sample.server, sample.slot, sample.offset


def model(sent: Sequence[Sample]) -> dict[tuple[str, int], tuple[dict[str, float], int]]:
    """The obvious one. sent: no moment twice."""
    cells: dict[tuple[str, int], list[Sample]] = {}
    for sample in sorted(sent, key=moment_of):
        cells.setdefault((sample.server, sample.slot), []).append(sample)
    rules: dict[str, Callable[[list[float]], float]] = {
        "mean": lambda said: sum(said) / len(said),
        "max": max,
        "last": lambda said: said[-1],
    }
    made = {}
    for cell, own in cells.items():
        values = {}
        for metric in KNOWN:
            said = [one.values[metric] for one in own if metric in one.values]
            if said:
                values[metric] = rules[AGGREGATES.get(metric, "mean")](said)
        made[cell] = values, ([0] + [one.status for one in own if one.status])[-1]
    return made


def check(state: State, sent: Sequence[Sample]) -> None:
    expected = model(sent)
    snapshot = state.window.snapshot()
    seen = {}
    for row, server in enumerate(snapshot.servers):
        for column in np.flatnonzero(~np.isnan(snapshot.values[row]).all(axis=1)).tolist():
            values = dict(zip(KNOWN, snapshot.values[row, column].tolist(), strict=True))
            known = {name: value for name, value in values.items() if value == value}
            seen[server, snapshot.last_slot - LENGTH + 1 + column] = known, int(snapshot.statuses[row, column])
    assert seen.keys() == expected.keys()
    for cell, (values, status) in expected.items():
        assert seen[cell][0] == pytest.approx(values, rel=1e-6)
        assert seen[cell][1] == status


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path, metrics=KNOWN, aggregates=AGGREGATES)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(sent=st.lists(samples, min_size=1, max_size=24, unique_by=moment_of), seed=st.integers(0, 10**6))
def test_neither_order_nor_repetition_nor_restarts_change_a_slot(
    sent: list[Sample], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    root = tmp_path_factory.mktemp("state")
    state = State(root, metrics=KNOWN, aggregates=AGGREGATES)
    arriving = sent + chance.choices(sent, k=len(sent) // 2)
    chance.shuffle(arriving)
    while arriving:
        count = chance.randint(1, 6)
        state.take(*arriving[:count], metrics=KNOWN)
        del arriving[:count]
        step = chance.choice(["", "", "restart", "checkpoint", "killed while it is checkpointed", "a minute later"])
        if step == "checkpoint":
            state.sample_store.checkpoint()
        elif step == "killed while it is checkpointed":
            state.journal.clear = lambda **_: None  # type: ignore[method-assign]
            state.sample_store.checkpoint()
        elif step == "a minute later":
            state.now += 60
        if step in ("restart", "killed while it is checkpointed"):
            state.restart()
    check(state, sent)
    state.sample_store.checkpoint()
    shutil.rmtree(root / "archive")
    state.restart()
    check(state, sent)
    state.journal.close()


FIVE = [Sample("a", START, {"cpu_user_pct": value}, offset=number * 60_000) for number, value in enumerate([90.0] * 4)]
LAST = Sample("a", START, {"cpu_user_pct": 10.0}, offset=240_000)


def shown(state: State) -> float:
    return float(state.window.snapshot().values[0, -1, 0])


@pytest.mark.parametrize("restarted", [False, True])
def test_a_sample_that_comes_after_the_slot_is_settled_joins_by_the_number_of_the_others(
    state: State, restarted: bool
) -> None:
    state.take(*FIVE, metrics=KNOWN)
    state.now += 3600
    state.sample_store.checkpoint()
    assert state.window.open_slots() == []
    assert list(state.journal.replay(0)) == []
    if restarted:
        state.restart()
    state.take(LAST, metrics=KNOWN)
    assert shown(state) == pytest.approx(74.0)
    state.restart()
    assert shown(state) == pytest.approx(74.0)
    state.journal.clear = lambda **_: None  # type: ignore[method-assign]
    state.sample_store.checkpoint()
    state.restart()
    assert shown(state) == pytest.approx(74.0), "the archive has it, and the journal too"
    state.take(LAST, metrics=KNOWN)
    assert shown(state) == pytest.approx(74.0), "it came again while the slot was open again"
    (archived,) = state.archive.replay(START, START)
    assert archived.counts is not None
    assert archived.counts.tolist() == [5]


def test_a_collector_that_writes_a_slot_again_replaces_its_value_also_once_it_is_settled(state: State) -> None:
    for value in (10.0, 20.0):
        state.take(Sample("a", START, {"cpu_user_pct": value}), metrics=KNOWN)
    state.now += 3600
    state.sample_store.checkpoint()
    state.restart()
    state.take(Sample("a", START, {"cpu_user_pct": 30.0}), metrics=KNOWN)
    assert shown(state) == 30.0


def test_a_slot_that_is_caught_up_with_is_open_as_long_as_one_of_now(state: State) -> None:
    state.now += 8 * 300
    late = [replace(sample, slot=START - 2) for sample in (*FIVE, LAST)]
    state.take(*late[:3], metrics=KNOWN)
    state.now += 800
    state.take(*late, metrics=KNOWN)
    assert shown(state) == pytest.approx(74.0)
    state.now += 899
    state.sample_store.checkpoint()
    assert state.window.open_slots() == [START - 2]
    state.now += 2
    state.sample_store.checkpoint()
    assert state.window.open_slots() == []
    assert shown(state) == pytest.approx(74.0)


def test_samples_that_come_early_are_told_apart_by_their_moments_too(state: State) -> None:
    state.now = START * 300.0 - 100
    state.take(*FIVE, metrics=KNOWN)
    state.sample_store.checkpoint()
    state.restart()
    state.take(*FIVE, LAST, metrics=KNOWN)
    state.now += 200
    state.sample_store.store_due()
    assert shown(state) == pytest.approx(74.0)


def test_the_journal_holds_no_more_than_what_is_open(state: State) -> None:
    for slot in range(START, START + 30):
        state.now = (slot + 1) * 300.0 - 1
        for minute in range(5):
            state.take(Sample(f"n{slot}", slot), Sample("a", slot, offset=minute * 60_000), metrics=KNOWN)
        state.sample_store.checkpoint()
    kept = list(state.journal.replay(0))
    assert len(kept) <= 5
    assert sum(len(batch.rows) for batch in kept) <= 5 * 6


def test_beyond_their_room_the_oldest_slots_are_settled_and_the_log_says_so(
    state: State, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state.sample_store._lateness, "_most_bytes", 60_000)
    for slot in range(START - 3, START + 1):
        for minute in range(5):
            hosts = [
                Sample(f"h{number}", slot, {"cpu_user_pct": 90.0 if minute < 4 else 10.0}, offset=minute * 60_000)
                for number in range(150)
            ]
            state.take(*hosts, metrics=KNOWN)
    assert state.window.open_bytes <= 60_000
    assert state.window.snapshot().values[:, -4:, 0] == pytest.approx(74.0)
    assert caplog.text.count("before window.lateness_seconds are over") == 1
    assert lateness_module.SHARE == 3


def test_state_of_an_older_version_is_read(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.take(Sample("a", START - 1, {"cpu_user_pct": 10.0}), Sample("a", START, {"cpu_user_pct": 10.0}))
    state.sample_store.checkpoint()
    state.take(Sample("a", START, {"mem_used_pct": 50.0}, status=2))
    state.journal.close()
    for path in (tmp_path / "journal.db", *(tmp_path / "archive").glob("*.sqlite3")):
        make_older(path)
    state.open()
    assert state.slots_of("a") == [START - 1, START]
    assert state.window.snapshot().values[0, -1].tolist() == [10.0, 50.0]
    assert state.window.snapshot().statuses[0, -1] == 2
    state.take(Sample("a", START - 1, {"cpu_user_pct": 20.0}, offset=60_000))
    assert state.window.snapshot().values[0, -2, 0] == 15.0
    state.sample_store.checkpoint()
    state.restart()
    assert state.window.snapshot().values[0, -2:].tolist() == [[15.0, pytest.approx(np.nan, nan_ok=True)], [10.0, 50.0]]
    assert not list(tmp_path.glob("**/*.corrupt-*"))


def make_older(path: Path) -> None:
    """Rewrites a file of samples as schema 1 had it."""
    with sqlite3.connect(path) as connection:
        (layout,) = connection.execute("SELECT id FROM layouts").fetchone()
        for row, count, body in connection.execute("SELECT id, samples, body FROM batches").fetchall():
            older = body[: -6 * count]
            crc = crc_of(layout, count, older)
            connection.execute("UPDATE batches SET body = ?, crc = ? WHERE id = ?", (older, crc, row))
        connection.execute("PRAGMA user_version = 1")
    connection.close()


def crc_of(layout: int, count: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<qq", layout, count)))
