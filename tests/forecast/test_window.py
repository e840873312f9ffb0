from __future__ import annotations

import threading

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.slow_window import Cell, SlowWindow

from nordiq_watch.forecast.window import NO_SLOT, Window
from nordiq_watch.records import WindowSnapshot

LENGTH = 6
SILENT_SLOTS = 2


def make_window(*, length: int = LENGTH, max_servers: int = 1000) -> Window:
    return Window(
        METRICS,
        interval_seconds=300,
        length=length,
        max_servers=max_servers,
        silent_seconds=SILENT_SLOTS * 300 + 299,
    )


def shown(snapshot: WindowSnapshot) -> dict[str, tuple[str, dict[int, Cell]]]:
    """A snapshot in the words of the slow model."""
    servers = {}
    for row, server in enumerate(snapshot.servers):
        cells = {}
        for column in range(snapshot.values.shape[1]):
            values = snapshot.values[row, column]
            cell = Cell(
                {name: float(value) for name, value in zip(METRICS, values, strict=True) if not np.isnan(value)},
                int(snapshot.statuses[row, column]),
            )
            if cell != Cell():
                cells[snapshot.last_slot - snapshot.values.shape[1] + 1 + column] = cell
        servers[server] = (snapshot.profiles[row], cells)
    return servers


def samples(*, servers: str = "abcde", slots: tuple[int, int] = (0, 30)) -> st.SearchStrategy[Sample]:
    return st.builds(
        Sample,
        server=st.sampled_from(servers),
        slot=st.integers(*slots),
        values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), max_size=2),
        status=st.integers(0, 3),
        profile=st.sampled_from([None, None, "X", "Y"]),
    )


def one_profile_each(batch: list[Sample]) -> list[Sample]:
    """A batch carries one profile a server, as parse_feed makes it; it counts even if only another row is in time."""
    profiles = {sample.server: sample.profile for sample in batch if sample.profile is not None}
    return [
        Sample(sample.server, sample.slot, sample.values, sample.status, profiles.get(sample.server))
        for sample in batch
    ]


BATCHES = st.lists(st.lists(samples(), min_size=1, max_size=12).map(one_profile_each), max_size=12)


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


@settings(max_examples=50)
@given(BATCHES, st.integers(1, LENGTH + 2), st.sampled_from([METRICS, METRICS[:1], METRICS[1:]]))
def test_samples_are_counted_as_the_slow_one_does(
    batches: list[list[Sample]], slots: int, metrics: tuple[str, ...]
) -> None:
    window, slow = make_window(), SlowWindow(length=LENGTH, silent_slots=SILENT_SLOTS)
    for batch in batches:
        window.apply(make_batch(batch))
        slow.apply(batch)
        counts = dict(zip(window.snapshot().servers, window.samples_within(slots, metrics).tolist(), strict=True))
        assert counts == (slow.samples_within(slots, metrics) if slow.newest is not None else {})
    all_of_it = dict(zip(window.snapshot().servers, window.samples_within(LENGTH).tolist(), strict=True))
    assert all_of_it == (slow.samples_within(LENGTH, METRICS) if slow.newest is not None else {})


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
    assert snapshot.values.shape == (0, LENGTH, 2) and snapshot.statuses.shape == (0, LENGTH)
    assert (window.newest_slot, window.size, window.servers_tracked) == (None, 0, 0)
    assert window.samples_within(3).tolist() == []


def test_columns_are_in_the_order_of_time_wherever_the_ring_stands() -> None:
    window = make_window()
    for slot in range(100, 120):
        window.apply(make_batch([Sample("a", slot, {"cpu_user_pct": float(slot)})]))
        snapshot = window.snapshot()
        known = [value for value in snapshot.values[0, :, 0].tolist() if not np.isnan(value)]
        assert known == list(range(max(100, slot - LENGTH + 1), slot + 1))
        assert snapshot.last_slot == slot


def test_a_jump_of_decades_clears_the_ring_at_once() -> None:
    window = make_window()
    window.apply(make_batch([Sample("a", 0), Sample("b", 1)]))
    window.apply(make_batch([Sample("a", 2_000_000_000)]))
    assert window.size == 1
    assert window.snapshot().servers == ("a",)
    assert not window.tracks("b")


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


def test_the_profile_is_the_last_one_given_else_that_of_the_name() -> None:
    window = make_window()
    window.apply(make_batch([Sample("ppdb001", 0), Sample("ppml001", 0, profile="Batch"), Sample("x", 0)]))
    window.apply(make_batch([Sample("ppml001", 1), Sample("x", 1)]))
    assert window.snapshot().profiles == ("Database", "Batch", "Generic")


def test_a_row_is_used_again_without_a_trace_of_the_server_before() -> None:
    window = make_window(max_servers=1)
    window.apply(make_batch([Sample("a", 0, {"cpu_user_pct": 5.0}, status=3, profile="Old")]))
    assert window.apply(make_batch([Sample("b", SILENT_SLOTS)])) == ("b",)
    assert window.apply(make_batch([Sample("b", SILENT_SLOTS + 1, {"mem_used_pct": 7.0})])) == ()
    snapshot = window.snapshot()
    assert (snapshot.servers, snapshot.profiles) == (("b",), ("Generic",))
    assert shown(snapshot)["b"][1] == {SILENT_SLOTS + 1: Cell({"mem_used_pct": 7.0})}


def test_the_server_silent_longest_leaves_first_and_never_one_that_is_heard() -> None:
    window = make_window(max_servers=3)
    window.apply(make_batch([Sample("lasting", 0), Sample("early", 0), Sample("late", 1)]))
    window.apply(make_batch([Sample("lasting", SILENT_SLOTS + 2)]))
    assert window.apply(make_batch([Sample("new1", SILENT_SLOTS + 2)])) == ()
    assert [name for name in ("lasting", "early", "late", "new1") if window.tracks(name)] == ["lasting", "late", "new1"]
    crowd = [Sample(f"made-up{number}", SILENT_SLOTS + 2) for number in range(50)]
    assert len(window.apply(make_batch(crowd))) == 49
    assert window.tracks("lasting") and window.tracks("new1") and not window.tracks("late")
    assert window.is_full


def test_a_late_sample_of_a_new_name_replaces_no_server_that_was_heard_after_it() -> None:
    window = make_window(max_servers=2)
    window.apply(make_batch([Sample("a", 10), Sample("b", 13)]))
    assert window.apply(make_batch([Sample("late", 10)])) == ("late",)
    assert window.apply(make_batch([Sample("late", 11)])) == ()
    assert not window.tracks("a")


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


def test_it_grows_and_keeps_what_it_has() -> None:
    window, fleet = make_window(), [f"server{number:04}" for number in range(700)]
    for slot, count in enumerate((1, 63, 65, 300, 700)):
        window.apply(make_batch([Sample(name, slot, {"cpu_user_pct": float(slot)}) for name in fleet[:count]]))
    assert window.servers_tracked == 700
    assert window.size == 1 + 63 + 65 + 300 + 700
    np.testing.assert_array_equal(window.snapshot().values[0, :, 0], [np.nan, 0, 1, 2, 3, 4])


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
    assert window.measured(0) is None and window.measured(7) is None  # no longer, not yet
    came = window.measured(1)
    assert came is not None and came.metrics == METRICS
    assert {name: float(came.values[row, 0]) for row, name in enumerate(came.servers)}["b"] == 2.0
    came = window.measured(6)
    assert came is not None
    values = {name: came.values[row] for row, name in enumerate(came.servers)}  # b is silent, and has nothing here
    assert values["a"][0] == 3.0 and np.isnan(values["a"][1:]).all() and np.isnan(values["b"]).all()
