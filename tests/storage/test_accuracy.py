from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nordiq_watch.errors import StorageError
from nordiq_watch.records import BookKey, Claim, Tally
from nordiq_watch.storage.accuracy import AccuracyStore

KEY = BookKey("m", "ab", "cpu_user_pct", 300)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AccuracyStore]:
    opened = AccuracyStore(tmp_path / "accuracy.sqlite3", interval_seconds=300)
    yield opened
    opened.close()


def make_claim(origin: int = 10, *, seed: int = 0, **changes: Any) -> Claim:
    values = np.random.default_rng(seed).uniform(0, 100, (2, 1, 4)).astype(np.float32)
    fields = {"model": "m", "sha256": "ab", "horizon_seconds": 300, "interval_seconds": 300}
    return Claim(
        **{**fields, "origin_slot": origin, "due_slot": origin + 1, "servers": ("a", "b"),
           "targets": ("cpu_user_pct",), "values": values, **changes}
    )  # fmt: skip


def test_claims_come_back_when_they_are_due_as_they_were(store: AccuracyStore) -> None:
    claims = [make_claim(12, seed=2), make_claim(10, seed=1), make_claim(30)]
    store.add(claims)
    due = [claim for _, claim in store.due(13)]
    assert [claim.due_slot for claim in due] == [11, 13]
    np.testing.assert_array_equal(due[0].values, claims[1].values)
    assert (due[0].servers, due[0].targets) == (("a", "b"), ("cpu_user_pct",))
    assert store.pending() == 3


def test_the_last_claim_of_a_slot_counts(store: AccuracyStore) -> None:
    store.add([make_claim(seed=1)])
    store.add([make_claim(seed=2), make_claim(seed=1, model="other"), make_claim(seed=1, sha256="cd")])
    due = {(claim.model, claim.sha256): claim for _, claim in store.due(11)}
    assert len(due) == store.pending() == 3
    np.testing.assert_array_equal(due["m", "ab"].values, make_claim(seed=2).values)


def test_a_forgotten_server_is_in_no_claim(store: AccuracyStore) -> None:
    claims = [make_claim(10, seed=1), make_claim(12, seed=2), make_claim(10, model="other", servers=("b", "c"))]
    alone = make_claim(14, servers=("a",), values=np.ones((1, 1, 4), dtype=np.float32))
    store.add([*claims, alone])
    assert store.forget("a") and not store.forget("a")
    due = {(claim.model, claim.origin_slot): claim for _, claim in store.due(99)}
    assert {key: claim.servers for key, claim in due.items()} == {
        ("m", 10): ("b",),
        ("m", 12): ("b",),
        ("other", 10): ("b", "c"),
    }
    np.testing.assert_array_equal(due["m", 10].values, claims[0].values[1:])


def test_books_add_up(store: AccuracyStore) -> None:
    for origin in (10, 11):
        store.add([make_claim(origin)])
        ((number, claim),) = store.due(origin + 1)
        store.settle(number, claim, {KEY: Tally(2, 1.5, 0.5, 1.0, 2.0, 0.25)})
    (book,) = store.books()
    assert (book.key, book.tally) == (KEY, Tally(4, 3.0, 1.0, 2.0, 4.0, 0.5))
    assert (book.first_at, book.last_at) == (3300, 3600)
    assert store.pending() == 0


def test_what_was_settled_is_never_taken_again(store: AccuracyStore) -> None:
    store.add([make_claim(10)])
    ((number, claim),) = store.due(11)
    store.settle(number, claim, {})
    store.add([make_claim(10), make_claim(9), make_claim(10, model="other"), make_claim(11)])
    assert [(claim.model, claim.origin_slot) for _, claim in store.due(99)] == [("other", 10), ("m", 11)]


def test_a_settlement_is_whole_or_not_at_all(store: AccuracyStore) -> None:
    store.add([make_claim(10)])
    ((number, claim),) = store.due(11)
    broken: Any = Tally(points=None)  # type: ignore[arg-type]  # the table refuses it
    with pytest.raises(StorageError):
        store.settle(number, claim, {KEY: Tally(1), BookKey("m", "ab", "x", 300): broken})
    assert store.books() == () and len(list(store.due(11))) == 1
    store.add([make_claim(10)])
    assert store.pending() == 1


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    first = AccuracyStore(path, interval_seconds=300)
    first.add([make_claim(10), make_claim(20)])
    number, claim = next(first.due(11))
    first.settle(number, claim, {KEY: Tally(1)})
    first.close()
    second = AccuracyStore(path, interval_seconds=300)
    assert [book.key for book in second.books()] == [KEY]
    assert [claim.origin_slot for _, claim in second.due(99)] == [20]
    second.close()
    third = AccuracyStore(path, interval_seconds=60)
    assert (third.pending(), len(third.books())) == (0, 1)
    third.close()


def test_only_the_newest_versions_and_used_rosters_are_kept(store: AccuracyStore) -> None:
    for origin, model in enumerate("abcde"):
        store.add([make_claim(origin, model=model, servers=(model, "x"))])
        ((number, claim),) = store.due(99)
        store.settle(number, claim, {BookKey(model, "ab", "cpu_user_pct", 300): Tally(1)})
    store.prune(2)
    assert [book.key.model for book in store.books()] == ["d", "e"]
    (rosters,) = store._store.connection.execute("SELECT count(*) FROM rosters").fetchone()
    assert rosters == 0


def test_a_damaged_file_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    path.write_bytes(b"this is no database, but long enough to look at" * 100)
    store = AccuracyStore(path, interval_seconds=300, clock=lambda: 0.0)
    assert store.books() == ()
    store.close()
    assert (tmp_path / "accuracy.sqlite3.corrupt-19700101T000000").exists()


def test_a_newer_program_s_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer nordiq_watch"):
        AccuracyStore(path, interval_seconds=300).books()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
