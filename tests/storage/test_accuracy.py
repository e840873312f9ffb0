from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nordiq_watch.errors import StorageError
from nordiq_watch.records.accuracy import AccuracyKey, BandState, ErrorSums, PendingForecast
from nordiq_watch.storage.accuracy import AccuracyStore

KEY = AccuracyKey("m", "ab", "cpu_user_pct", 300)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AccuracyStore]:
    opened = AccuracyStore(tmp_path / "accuracy.sqlite3", interval_seconds=300)
    yield opened
    opened.close()


def make_pending(origin: int = 10, *, seed: int = 0, **changes: Any) -> PendingForecast:
    values = np.random.default_rng(seed).uniform(0, 100, (2, 1, 4)).astype(np.float32)
    fields = {"model": "m", "sha256": "ab", "horizon_seconds": 300, "interval_seconds": 300}
    return PendingForecast(
        **{**fields, "origin_slot": origin, "due_slot": origin + 1, "servers": ("a", "b"),
           "targets": ("cpu_user_pct",), "values": values, **changes}
    )  # fmt: skip


def test_claims_come_back_when_they_are_due_as_they_were(store: AccuracyStore) -> None:
    pending_forecasts = [make_pending(12, seed=2), make_pending(10, seed=1), make_pending(30)]
    store.add(pending_forecasts)
    due = [pending for _, pending in store.due(13)]
    assert [pending.due_slot for pending in due] == [11, 13]
    np.testing.assert_array_equal(due[0].values, pending_forecasts[1].values)
    assert (due[0].servers, due[0].targets) == (("a", "b"), ("cpu_user_pct",))
    assert store.pending() == 3


def test_the_last_claim_of_a_slot_counts(store: AccuracyStore) -> None:
    store.add([make_pending(seed=1)])
    store.add([make_pending(seed=2), make_pending(seed=1, model="other"), make_pending(seed=1, sha256="cd")])
    due = {(pending.model, pending.sha256): pending for _, pending in store.due(11)}
    assert len(due) == store.pending() == 3
    np.testing.assert_array_equal(due["m", "ab"].values, make_pending(seed=2).values)


def test_a_forgotten_server_is_in_no_pending_forecast(store: AccuracyStore) -> None:
    pending_forecasts = [
        make_pending(10, seed=1),
        make_pending(12, seed=2),
        make_pending(10, model="other", servers=("b", "c")),
    ]
    alone = make_pending(14, servers=("a",), values=np.ones((1, 1, 4), dtype=np.float32))
    store.add([*pending_forecasts, alone])
    assert store.forget("a")
    assert not store.forget("a")
    due = {(pending.model, pending.origin_slot): pending for _, pending in store.due(99)}
    assert {key: pending.servers for key, pending in due.items()} == {
        ("m", 10): ("b",),
        ("m", 12): ("b",),
        ("other", 10): ("b", "c"),
    }
    np.testing.assert_array_equal(due["m", 10].values, pending_forecasts[0].values[1:])


def test_books_add_up(store: AccuracyStore) -> None:
    for origin in (10, 11):
        store.add([make_pending(origin)])
        ((number, pending),) = store.due(origin + 1)
        store.settle(number, pending, {KEY: ErrorSums(2, 1.5, 0.5, 1.0, 2.0, 0.25)})
    (totals,) = store.all_totals()
    assert (totals.key, totals.sums) == (KEY, ErrorSums(4, 3.0, 1.0, 2.0, 4.0, 0.5))
    assert (totals.first_at, totals.last_at) == (3300, 3600)
    assert store.pending() == 0


def test_what_was_settled_is_never_taken_again(store: AccuracyStore) -> None:
    store.add([make_pending(10)])
    ((number, pending),) = store.due(11)
    store.settle(number, pending, {})
    store.add([make_pending(10), make_pending(9), make_pending(10, model="other"), make_pending(11)])
    assert [(pending.model, pending.origin_slot) for _, pending in store.due(99)] == [("other", 10), ("m", 11)]


def test_a_settlement_is_whole_or_not_at_all(store: AccuracyStore) -> None:
    store.add([make_pending(10)])
    ((number, pending),) = store.due(11)
    broken: Any = ErrorSums(points=None)  # type: ignore[arg-type]  # the table refuses it
    with pytest.raises(StorageError):
        store.settle(number, pending, {KEY: ErrorSums(1), AccuracyKey("m", "ab", "x", 300): broken})
    assert store.all_totals() == ()
    assert len(list(store.due(11))) == 1
    store.add([make_pending(10)])
    assert store.pending() == 1


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    first = AccuracyStore(path, interval_seconds=300)
    first.add([make_pending(10), make_pending(20)])
    number, pending = next(first.due(11))
    first.settle(number, pending, {KEY: ErrorSums(1)})
    first.close()
    second = AccuracyStore(path, interval_seconds=300)
    assert [totals.key for totals in second.all_totals()] == [KEY]
    assert [pending.origin_slot for _, pending in second.due(99)] == [20]
    second.close()
    third = AccuracyStore(path, interval_seconds=60)
    assert (third.pending(), len(third.all_totals())) == (0, 1)
    third.close()


def test_only_the_newest_versions_and_used_rosters_are_kept(store: AccuracyStore) -> None:
    for origin, model in enumerate("abcde"):
        store.add([make_pending(origin, model=model, servers=(model, "x"))])
        ((number, pending),) = store.due(99)
        store.settle(number, pending, {AccuracyKey(model, "ab", "cpu_user_pct", 300): ErrorSums(1)})
    store.prune(2)
    assert [totals.key.model for totals in store.all_totals()] == ["d", "e"]
    (rosters,) = store._store.connection.execute("SELECT count(*) FROM rosters").fetchone()
    assert rosters == 0


def test_bands_are_kept_with_what_they_were_learned_from(store: AccuracyStore) -> None:
    store.add([make_pending(10, factors=(1.25,)), make_pending(12)])
    (number, first), (other, second) = store.due(99)
    assert (first.factors, second.factors) == ((1.25,), None)
    store.settle(number, first, {KEY: ErrorSums(1)}, {KEY: BandState(1.3, 2.0, 1.5)})
    assert store.bands() == {KEY: BandState(1.3, 2.0, 1.5)}
    store.settle(other, second, {KEY: ErrorSums(1)}, {KEY: BandState(1.4, 3.0, 2.5)})
    assert store.bands() == {KEY: BandState(1.4, 3.0, 2.5)}


def test_bands_go_with_the_totals_of_their_version(store: AccuracyStore) -> None:
    for origin, model in enumerate("abc"):
        store.add([make_pending(origin, model=model)])
        ((number, pending),) = store.due(99)
        key = AccuracyKey(model, "ab", "cpu_user_pct", 300)
        store.settle(number, pending, {key: ErrorSums(1)}, {key: BandState()})
    store.prune(2)
    assert [key.model for key in store.bands()] == ["b", "c"]


def test_a_file_from_before_adaptive_bands_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    store = AccuracyStore(path, interval_seconds=300)
    store.add([make_pending(10), make_pending(20)])
    ((number, pending), _) = store.due(99)
    store.settle(number, pending, {KEY: ErrorSums(1)})
    store.close()
    with sqlite3.connect(path) as connection:  # as schema 1 was
        connection.execute("ALTER TABLE claims DROP COLUMN factors")
        connection.execute("DROP TABLE bands")
        connection.execute("PRAGMA user_version = 1")
    again = AccuracyStore(path, interval_seconds=300)
    assert [totals.sums.points for totals in again.all_totals()] == [1]
    ((number, pending),) = again.due(99)
    assert pending.factors is None
    again.settle(number, pending, {KEY: ErrorSums(1)}, {KEY: BandState(1.1)})
    assert again.bands() == {KEY: BandState(1.1)}
    again.close()


def test_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    path.write_bytes(b"this is no database, but long enough to look at" * 100)
    store = AccuracyStore(path, interval_seconds=300, clock=lambda: 0.0)
    assert store.all_totals() == ()
    store.close()
    assert (tmp_path / "accuracy.sqlite3.corrupt-19700101T000000").exists()


def test_a_newer_program_s_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer nordiq_watch"):
        AccuracyStore(path, interval_seconds=300).all_totals()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


def test_renamed_servers_are_in_the_pending_forecasts_under_their_new_names(store: AccuracyStore) -> None:
    pending = make_pending(10, seed=1)
    store.add([pending, make_pending(10, model="other", servers=("c", "d"))])
    for _ in range(2):  # the same order again changes nothing more
        store.rename({"a": "a@x", "gone": "gone@x"})
    due = {found.model: found for _, found in store.due(99)}
    assert (due["m"].servers, due["other"].servers) == (("a@x", "b"), ("c", "d"))
    np.testing.assert_array_equal(due["m"].values, pending.values)
