"""Whole slots that are written together are as if each had been written by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch, samples_of
from support.windows import LENGTH, make_window, samples, shown

from nordiq_watch.ingest.filling import _PORTION
from nordiq_watch.ingest.source import Source
from nordiq_watch.ingest.window import Window
from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.records.samples import Batch

SLICES = st.lists(
    st.tuples(st.integers(1, 3), st.lists(samples(), min_size=1, max_size=6, unique_by=lambda sample: sample.server)),
    max_size=8,
)
"""Of each slot its distance from the one before, and its samples."""


def slices_of(drawn: list[tuple[int, list[Sample]]], counts: list[int]) -> list[Batch]:
    found, slot = [], 0
    shared: dict[object, Batch] = {}
    for number, (distance, its) in enumerate(drawn):
        slot += distance
        batch = make_batch([replace(sample, slot=slot, offset=0) for sample in its])
        known = shared.setdefault((batch.servers, batch.profiles, batch.rows.tobytes()), batch)  # as the archive's are
        found.append(
            replace(
                batch,
                servers=known.servers,
                profiles=known.profiles,
                rows=known.rows,
                counts=np.resize(counts[number:], len(its)) if counts[number:] else None,
            )
        )
    return found


@pytest.mark.slow
@settings(max_examples=300)
@given(SLICES, st.integers(1, 4), st.integers(1, 6), st.lists(st.integers(1, 70_000), max_size=4), st.data())
def test_slots_written_together_are_as_those_written_one_by_one(
    drawn: list[tuple[int, list[Sample]]], at_once: int, max_servers: int, counts: list[int], data: st.DataObject
) -> None:
    together, alone = make_window(max_servers=max_servers), make_window(max_servers=max_servers)
    slices = slices_of(drawn, counts)
    for begin in range(0, len(slices), at_once):
        for window in (together, alone):  # what is counted beforehand is kept up to date
            window.samples_within(2, METRICS[:1])
        some = slices[begin : begin + at_once]
        if not together.fill(some):
            for slice_ in some:
                together.apply(slice_, source=Source.ARCHIVE)
        for slice_ in some:
            alone.apply(slice_, source=Source.ARCHIVE)
        assert_alike(together, alone)
        if data.draw(st.booleans(), label="a server is deleted"):
            together.forget("a")
            alone.forget("a")
    later = make_batch([Sample("a", (alone.newest_slot or 0) + 1, {METRICS[0]: 3.0}, profile="Z")])
    for window in (together, alone):
        window.apply(later)
    assert_alike(together, alone)


def assert_alike(one: Window, other: Window) -> None:
    assert (one.newest_slot, one.size, one.servers_tracked) == (other.newest_slot, other.size, other.servers_tracked)
    assert shown(one.snapshot()) == shown(other.snapshot())
    assert one.samples_within(2, METRICS[:1]).tolist() == other.samples_within(2, METRICS[:1]).tolist()
    newest = other.newest_slot or 0
    for slot in range(newest - LENGTH, newest + 1):
        mine, its = one.slice(slot), other.slice(slot)
        assert (mine is None) == (its is None)
        if mine is not None and its is not None:
            assert samples_of(mine) == samples_of(its)
            assert (mine.counts is None) == (its.counts is None)
            assert mine.counts is None or its.counts is None or mine.counts.tolist() == its.counts.tolist()


@pytest.mark.parametrize("gap", [0, 1])
def test_a_fleet_of_more_servers_than_are_laid_side_by_side_at_once(gap: int) -> None:
    """gap: servers that lack some slots, so that the rows of those have a hole."""
    together, alone = make_window(max_servers=10**6), make_window(max_servers=10**6)
    servers = 2 * _PORTION + 5
    names, slices = tuple(f"s{number}" for number in range(servers)), []
    everyone, some = np.arange(servers), np.delete(np.arange(servers), np.arange(7, 7 + gap))
    for slot in range(LENGTH):
        rows = some if 1 < slot < 4 else everyone
        values = np.random.default_rng(slot).random((len(rows), len(METRICS)), dtype=np.float32)
        none = np.full(len(rows), UNKNOWN_STATUS, dtype=np.uint8)
        slices.append(Batch(names, (None,) * servers, rows, np.full(len(rows), slot), none, values, 0 * rows))
    assert together.fill(slices)
    for slice_ in slices:
        alone.apply(slice_, source=Source.ARCHIVE)
    mine, its = together.snapshot(), alone.snapshot()
    np.testing.assert_array_equal(mine.values, its.values)
    np.testing.assert_array_equal(mine.statuses, its.statuses)
    assert mine.servers == its.servers
    assert together.size == alone.size
    np.testing.assert_array_equal(together.samples_within(LENGTH), alone.samples_within(LENGTH))


def test_slots_that_would_need_room_or_order_are_left_to_be_applied() -> None:
    window = make_window(max_servers=2)
    assert window.fill([make_batch([Sample("a", 0), Sample("b", 0)])])
    assert not window.fill([make_batch([Sample("c", 1)])]), "no room: who leaves is for `apply` to say"
    assert not window.fill([make_batch([Sample("a", 0)])]), "not newer"
    assert not window.fill([make_batch([Sample("a", 2), Sample("b", 1)])]), "two slots in one"
    assert not window.fill([make_batch([Sample("a", LENGTH)])]), "what is there would have to be cleared"
    assert window.size == 2
    assert window.newest_slot == 0


def test_a_server_that_took_another_s_samples_has_two_of_one_slot() -> None:
    """As after a renaming that came twice: of each metric the later one counts, and the cell counts once."""
    window = make_window()
    twice = make_batch(
        [Sample("a", 1, {METRICS[0]: 1.0, METRICS[1]: 2.0}), Sample("b", 1), Sample("a", 1, {METRICS[1]: 3.0})]
    )
    values = {METRICS[0]: 5.0}
    twice.values[1, 0] = 5.0
    assert not window.fill([twice])
    window.apply(twice, source=Source.ARCHIVE)
    assert window.size == 2
    assert window.samples_within(2).tolist() == [1, 1]
    (slice_,) = [window.slice(1)]
    assert slice_ is not None
    assert [sample.values for sample in samples_of(slice_)] == [{METRICS[0]: 1.0, METRICS[1]: 3.0}, values]
