from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.slow_window import SlowWindow
from support.windows import BATCHES, LENGTH, SILENT_SLOTS, make_window, one_profile_each, samples, shown

from nordiq_watch.records.samples import NO_SLOT


@pytest.mark.slow
@settings(max_examples=150)
@given(BATCHES)
def test_the_window_is_the_slow_one(batches: list[list[Sample]]) -> None:
    window, slow = make_window(), SlowWindow(length=LENGTH, silent_slots=SILENT_SLOTS)
    for batch in batches:
        assert window.apply(make_batch(batch)) == ()
        slow.apply(batch)
        assert window.newest_slot == slow.newest
        assert window.size == slow.size()
        assert window.servers_tracked == len(slow.cells)
        assert shown(window.snapshot()) == slow.shown()


@pytest.mark.slow
@settings(max_examples=150)
@given(BATCHES, st.integers(1, 5))
def test_batches_that_share_their_names_are_written_as_if_each_had_its_own(
    batches: list[list[Sample]], max_servers: int
) -> None:
    """As slots of an archive do, and as what is planned and then applied does."""
    sharing, alone = make_window(max_servers=max_servers), make_window(max_servers=max_servers)
    tuples: dict[object, tuple[tuple[str, ...], tuple[str | None, ...]]] = {}
    for batch in batches:
        one, other = make_batch(batch), make_batch(batch)
        servers, profiles = tuples.setdefault((one.servers, one.profiles), (one.servers, one.profiles))
        one = replace(one, servers=servers, profiles=profiles)
        assert sharing.plan(one) == alone.plan(other)
        assert sharing.apply(one, sharing.plan(one)) == alone.apply(other)
        assert shown(sharing.snapshot()) == shown(alone.snapshot())
        if len(batch) % 3 == 0:
            sharing.forget("a")
            alone.forget("a")


def test_a_snapshot_is_copied_once_while_nothing_was_written() -> None:
    window = make_window()
    window.apply(make_batch([Sample("a", 0)]))
    first = window.snapshot()
    assert window.snapshot() is first
    window.apply(make_batch([Sample("a", 1)]))
    assert window.snapshot() is not first


@settings(max_examples=50)
@given(BATCHES)
def test_a_slice_of_each_slot_brings_the_window_back(batches: list[list[Sample]]) -> None:
    window, again = make_window(), make_window()
    for batch in batches:
        window.apply(make_batch(batch))
    newest = window.newest_slot
    for slot in range(0 if newest is None else newest - LENGTH + 1, 0 if newest is None else newest + 1):
        piece = window.slice(slot)
        if piece is not None:
            again.apply(piece)
    assert shown(again.snapshot()) == shown(window.snapshot())
    assert again.size == window.size
    window.clear()
    assert (window.size, window.servers_tracked, window.newest_slot) == (0, 0, None)
    for batch in batches:
        window.apply(make_batch(batch))
    assert shown(again.snapshot()) == shown(window.snapshot())


@example([[Sample("a", 0), Sample("b", 0), Sample("c", 0, {}), Sample("d", 0), Sample("c", 0)]])
@settings(max_examples=80)
@given(st.lists(st.lists(samples(servers="abcdef"), min_size=1, max_size=4).map(one_profile_each), max_size=12))
def test_a_full_window_refuses_and_replaces_the_same_servers_as_the_slow_one(batches: list[list[Sample]]) -> None:
    window = make_window(max_servers=3)
    slow = SlowWindow(length=LENGTH, silent_slots=SILENT_SLOTS, max_servers=3)
    for batch in batches:
        before = set(slow.cells)
        planned = window.plan(make_batch(batch))
        refused = slow.apply(batch)
        assert set(window.apply(make_batch(batch))) == set(planned.refused) == refused
        assert set(planned.ended) == before - set(slow.cells)
        assert window.is_full == (len(slow.cells) == 3 and not any(map(slow.is_silent, slow.cells)))
        assert shown(window.snapshot()) == slow.shown()
        assert {name for name in "abcdef" if window.tracks(name)} == set(slow.cells)


def test_an_empty_window_has_an_empty_snapshot() -> None:
    window = make_window()
    snapshot = window.snapshot()
    assert (snapshot.servers, snapshot.last_slot) == ((), NO_SLOT)
    assert snapshot.values.shape == (0, LENGTH, 2)
    assert snapshot.statuses.shape == (0, LENGTH)
    assert (window.newest_slot, window.size, window.servers_tracked) == (None, 0, 0)
    assert window.samples_within(3).tolist() == []


def test_a_silent_server_comes_back_with_its_history() -> None:
    window = make_window()
    window.apply(make_batch([Sample("a", 0), Sample("b", 0)]))
    window.apply(make_batch([Sample("a", SILENT_SLOTS)]))
    assert window.snapshot().servers == ("a", "b")
    window.apply(make_batch([Sample("a", SILENT_SLOTS + 1)]))
    assert window.snapshot().servers == ("a",)
    assert window.servers_tracked == 2
    window.apply(make_batch([Sample("b", SILENT_SLOTS + 2)]))
    snapshot = window.snapshot()
    assert snapshot.servers == ("a", "b")
    assert np.isfinite(snapshot.values[1, :, 0]).sum() == 2


def test_a_server_s_history_is_its_row_of_the_snapshot() -> None:
    window = make_window()
    for slot in range(100, 120):
        window.apply(make_batch([Sample("b", slot, {"cpu_user_pct": float(slot)}), Sample("a", slot, profile="Batch")]))
    snapshot = window.snapshot()
    history = window.history("a")
    assert history is not None
    assert history[:2] == (119, "Batch")
    np.testing.assert_array_equal(history[2], snapshot.values[snapshot.servers.index("a")])


def test_a_silent_server_has_a_history_and_an_unknown_one_has_none() -> None:
    window = make_window()
    assert window.history("a") is None
    window.apply(make_batch([Sample("a", 0)]))
    window.apply(make_batch([Sample("b", SILENT_SLOTS + 1)]))
    assert window.history("a") is not None
    assert window.history("c") is None


def test_a_forgotten_server_leaves_nothing_behind() -> None:
    window, other = make_window(), make_window()
    both = [Sample("a", 0, status=3, profile="Old"), Sample("b", 1)]
    window.apply(make_batch(both))
    assert window.newest_slot_of("a") == 0
    window.forget("a")
    assert window.newest_slot_of("a") is None
    window.forget("a")
    other.apply(make_batch(both[1:]))
    for each in (window, other):
        each.apply(make_batch([Sample("a", 2)]))
    assert shown(window.snapshot()) == shown(other.snapshot())
    assert (window.size, window.servers_tracked) == (2, 2)
    assert sorted(window.samples_within(LENGTH).tolist()) == [1, 1]


def test_a_snapshot_is_a_copy() -> None:
    window = make_window()
    window.apply(make_batch([Sample("a", 0, {"cpu_user_pct": 1.0})]))
    before = window.snapshot()
    window.apply(make_batch([Sample("a", 0, {"cpu_user_pct": 2.0}), Sample("b", 1)]))
    assert before.values[0, -1, 0] == 1.0
    assert before.servers == ("a",)


def test_no_snapshot_is_torn_by_a_write() -> None:
    """Each batch gives every server the same value; a snapshot must never show two of them in one slot."""
    window, batches = make_window(length=32), 150
    fleet = [f"s{number}" for number in range(40)]

    def write() -> None:
        for slot in range(batches):
            window.apply(make_batch([Sample(name, slot, {"cpu_user_pct": float(slot)}) for name in fleet]))

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        values = window.snapshot().values[:, :, 0]
        assert (np.isnan(values).all(axis=0) | (values == values[:1]).all(axis=0)).all()
    writer.join()
    assert window.newest_slot == batches - 1


def test_one_slot_of_everybody() -> None:
    window = make_window()
    assert window.measured(0) is None
    for server, slot, value in (("a", 0, 1.0), ("b", 1, 2.0), ("a", 6, 3.0)):
        window.apply(make_batch([Sample(server, slot, {METRICS[0]: value})]))
    assert window.measured(0) is None
    assert window.measured(7) is None
    came = window.measured(1)
    assert came is not None
    assert came.metrics == METRICS
    assert {name: float(came.values[row, 0]) for row, name in enumerate(came.servers)}["b"] == 2.0
    came = window.measured(6)
    assert came is not None
    values = {name: came.values[row] for row, name in enumerate(came.servers)}  # b is silent, and has nothing here
    assert values["a"][0] == 3.0
    assert np.isnan(values["a"][1:]).all()
    assert np.isnan(values["b"]).all()
