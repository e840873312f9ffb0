"""The copy of the window on the device against the snapshots themselves, and how much of them was copied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.gpu import DEVICES

from nordiq_watch.ingest.window import Window
from nordiq_watch.network.device_window import DeviceWindow
from nordiq_watch.records.samples import WindowSnapshot

LENGTH, ENCODER = 6, 4


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_window(*, length: int = LENGTH, tracks_changes: bool = True) -> Window:
    return Window(
        METRICS,
        interval_seconds=300,
        length=length,
        max_servers=1000,
        silent_seconds=2 * 300 + 299,
        tracks_changes=tracks_changes,
    )


def feed(window: Window, slot: int, *servers: str, value: float = 1.0) -> None:
    window.apply(make_batch([Sample(server, slot, dict.fromkeys(METRICS, value)) for server in servers]))


def test_a_ring_longer_than_the_encoder_counts_the_encoder_alone() -> None:
    window, copy = make_window(), DeviceWindow(length=LENGTH, encoder=ENCODER, metrics=len(METRICS), device="cpu")
    for slot in (100, 103, *range(104, 104 + LENGTH - 3)):
        feed(window, slot, "a")
        feed(window, slot, *("bc"[: slot % 3]))
        take(copy, window)
    snapshot = window.snapshot()
    values, statuses = copy.read(np.arange(3))
    np.testing.assert_array_equal(values.numpy(), snapshot.values)
    np.testing.assert_array_equal(statuses.numpy(), snapshot.statuses)
    sampled = np.asarray(~np.isnan(snapshot.values[:, -ENCODER:]).all(axis=2))
    samples, oldest = copy.count_samples()
    np.testing.assert_array_equal(samples, sampled.sum(axis=1))
    np.testing.assert_array_equal(oldest, sampled[:, 0])


def take(copy: DeviceWindow, window: Window) -> int:
    return copy.take(window.snapshot(), range(len(METRICS)))


def assert_same(copy: DeviceWindow, snapshot: WindowSnapshot) -> None:
    values, statuses = copy.read(np.arange(len(snapshot.servers)))
    np.testing.assert_array_equal(values.cpu().numpy(), snapshot.values[:, -ENCODER:])
    np.testing.assert_array_equal(statuses.cpu().numpy(), snapshot.statuses[:, -ENCODER:])
    sampled = np.asarray(~np.isnan(snapshot.values[:, -ENCODER:]).all(axis=2))
    samples, oldest = copy.count_samples()
    np.testing.assert_array_equal(samples, sampled.sum(axis=1))
    np.testing.assert_array_equal(oldest, sampled[:, 0])


SAMPLES = st.builds(
    Sample,
    server=st.sampled_from("abcdefgh"),
    slot=st.integers(0, 12) | st.integers(0, 60),  # late ones, silences, servers that are forgotten
    values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), min_size=1, max_size=2),
    status=st.integers(0, 3),
)
STEPS = st.lists(st.lists(SAMPLES, min_size=1, max_size=6) | st.sampled_from(["look", "look", "clear"]), max_size=25)


@pytest.mark.slow
@settings(max_examples=200)
@given(STEPS)
def test_it_is_the_window_whatever_was_fed_between_two_looks(steps: list[Any]) -> None:
    window, copy = make_window(), DeviceWindow(length=ENCODER, encoder=ENCODER, metrics=len(METRICS), device="cpu")
    for step in [*steps, "look"]:
        if step == "clear":
            window.clear()
        elif step == "look":
            assert copy.can_take(window.snapshot())
            take(copy, window)
            assert_same(copy, window.snapshot())
        else:
            window.apply(make_batch(step))


class TestOnlyNewCellsAreCopied:
    SERVERS = tuple(f"ppdb{number:03d}" for number in range(50))

    @pytest.fixture
    def window(self) -> Window:
        window = make_window()
        for slot in range(100, 110):
            feed(window, slot, *self.SERVERS)
        return window

    @pytest.fixture
    def copy(self, window: Window, device: str) -> DeviceWindow:
        copy = DeviceWindow(length=ENCODER, encoder=ENCODER, metrics=len(METRICS), device=device)
        assert take(copy, window) == 50 * ENCODER
        return copy

    def test_nothing_for_the_same_snapshot(self, window: Window, copy: DeviceWindow) -> None:
        assert take(copy, window) == 0

    def test_one_cell_a_server_and_tick_over_a_ring_that_wraps(self, window: Window, copy: DeviceWindow) -> None:
        for slot in range(110, 130):
            feed(window, slot, *self.SERVERS, value=slot)
            assert take(copy, window) == 50
            assert_same(copy, window.snapshot())

    def test_one_cell_for_a_late_sample(self, window: Window, copy: DeviceWindow) -> None:
        feed(window, 107, self.SERVERS[3], value=77.0)
        assert take(copy, window) == 1
        assert_same(copy, window.snapshot())

    def test_nothing_for_a_sample_before_the_encoder(self, window: Window, copy: DeviceWindow) -> None:
        feed(window, 105, self.SERVERS[3], value=77.0)
        assert take(copy, window) == 0

    def test_one_row_for_a_server_that_joins(self, window: Window, copy: DeviceWindow) -> None:
        feed(window, 109, "new")
        feed(window, 108, "new")
        assert take(copy, window) == ENCODER
        assert_same(copy, window.snapshot())

    def test_what_a_silent_server_missed_when_it_is_heard_again(self, window: Window, copy: DeviceWindow) -> None:
        for slot in (110, 111, 112, 113):
            feed(window, slot, *self.SERVERS[1:])
            assert take(copy, window) == (50 if slot < 112 else 49), "from 112 on it is silent"
        feed(window, 114, *self.SERVERS)
        assert take(copy, window) == 49 + 3
        assert_same(copy, window.snapshot())

    def test_a_row_that_has_got_another_server_is_copied_as_its_own(self, window: Window, copy: DeviceWindow) -> None:
        for slot in range(110, 116):
            feed(window, slot, *self.SERVERS[1:])
        feed(window, 115, "heir", value=5.0)
        assert "heir" in window.snapshot().servers
        take(copy, window)
        assert_same(copy, window.snapshot())

    def test_more_than_the_staging_memory_holds_at_once(self, device: str) -> None:
        window = make_window()
        copy = DeviceWindow(length=ENCODER, encoder=ENCODER, metrics=len(METRICS), device=device, cells_at_once=1000)
        fleet = tuple(f"s{number}" for number in range(999))
        for slot in range(ENCODER):
            feed(window, slot, *fleet, value=slot)
        assert take(copy, window) == 999 * ENCODER
        assert_same(copy, window.snapshot())


class TestWhatItCannotTake:
    @pytest.fixture
    def copy(self) -> DeviceWindow:
        return DeviceWindow(length=ENCODER, encoder=ENCODER, metrics=len(METRICS), device="cpu")

    def test_a_snapshot_that_does_not_say_what_changed(self, copy: DeviceWindow) -> None:
        window = make_window(tracks_changes=False)
        feed(window, 1, "a")
        assert not copy.can_take(window.snapshot())

    def test_one_that_was_changed_after_it_was_made(self, copy: DeviceWindow) -> None:
        window = make_window()
        feed(window, 1, "a")
        snapshot = window.snapshot()
        assert copy.can_take(snapshot)
        assert not copy.can_take(replace(snapshot, values=snapshot.values + 1))

    def test_one_that_is_older_than_the_last_one(self, copy: DeviceWindow) -> None:
        window = make_window()
        feed(window, 1, "a")
        older = window.snapshot()
        feed(window, 2, "a")
        take(copy, window)
        assert not copy.can_take(older)
        assert copy.can_take(window.snapshot())

    def test_a_window_that_is_shorter_than_the_encoder(self, copy: DeviceWindow) -> None:
        window = make_window(length=ENCODER - 1)
        feed(window, 1, "a")
        assert not copy.can_take(window.snapshot())


def test_another_window_is_copied_whole() -> None:
    first, second = make_window(), make_window()
    copy = DeviceWindow(length=ENCODER, encoder=ENCODER, metrics=len(METRICS), device="cpu")
    for slot in range(ENCODER):
        feed(first, slot, "a", "b", value=3.0)
    take(copy, first)
    feed(second, 1, "c", value=4.0)
    assert take(copy, second) == ENCODER
    assert_same(copy, second.snapshot())
