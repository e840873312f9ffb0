from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nordiq_watch.ingest.window import Window
from nordiq_watch.records.arrays import FloatArray
from nordiq_watch.records.samples import Batch, WindowSnapshot

METRICS = ("cpu_user_pct", "mem_used_pct")
LENGTH, SERVERS = 6, 5


def window_of(*, copied_servers: int, servers: int = SERVERS, length: int = LENGTH) -> Window:
    return Window(
        METRICS,
        interval_seconds=300,
        length=length,
        max_servers=servers,
        silent_seconds=3 * 300,
        copied_servers=copied_servers,
    )


def batch_of(names: tuple[str, ...], slots: list[int], values: FloatArray) -> Batch:
    return Batch(
        servers=names,
        profiles=(None,) * len(names),
        rows=np.arange(len(names)),
        slots=np.array(slots),
        statuses=np.arange(len(names), dtype=np.uint8) % 3,
        values=values,
        offsets=np.zeros(len(names), dtype=np.int64),
    )


def contents(snapshot: WindowSnapshot) -> tuple[Any, ...]:
    return (
        snapshot.servers,
        snapshot.last_slot,
        np.asarray(snapshot.values).tobytes(),
        np.asarray(snapshot.statuses).tobytes(),
    )


SAMPLES = st.lists(
    st.tuples(
        st.integers(0, 2 * SERVERS - 1),  # more names than rows: silent ones leave
        st.integers(0, 9),  # slots back from the newest
        st.sampled_from([float("nan"), 1.0, 2.0, 3.0]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda sample: sample[0],
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 4), SAMPLES),
        st.tuples(st.just("forget"), st.integers(0, 2 * SERVERS - 1)),
        st.tuples(st.just("rename"), st.integers(0, 2 * SERVERS - 1), st.integers(100, 103)),
        st.tuples(st.just("reach"), st.integers(0, 8)),
        st.tuples(st.just("settle")),
        st.tuples(st.just("clear")),
    ),
    min_size=1,
    max_size=12,
)


def take(window: Window, step: tuple[Any, ...], newest: int) -> int:
    """Does one step; returns the newest slot after it."""
    match step:
        case ("write", ahead, samples):
            newest += ahead
            names = tuple(f"s{server}" for server, _, _ in samples)
            values = np.array([[value, 7.0] for _, _, value in samples], dtype=np.float32)
            window.apply(batch_of(names, [newest - back for _, back, _ in samples], values))
        case ("forget", server):
            window.forget(f"s{server}")
        case ("rename", server, new):
            window.rename({f"s{server}": f"s{new}"})
        case ("reach", ahead):
            newest += ahead
            window.reach(newest)
        case ("settle",):
            window.settle(window.open_slots())
        case ("clear",):
            window.clear()
    return newest


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_a_view_says_what_a_copy_says_however_the_window_changes_afterwards(steps: list[tuple[Any, ...]]) -> None:
    viewed, copied = window_of(copied_servers=0), window_of(copied_servers=SERVERS)
    newest, pairs = 100, []
    for step in steps:
        after = [take(window, step, newest) for window in (viewed, copied)]
        newest = after[0]
        pairs.append((viewed.snapshot(), copied.snapshot()))
        for view, copy in pairs:
            assert contents(view) == contents(copy)


def fill(window: Window, names: tuple[str, ...], *, last: int, slots: int) -> None:
    for slot in range(last - slots + 1, last + 1):
        values = np.random.default_rng(slot).uniform(0, 100, size=(len(names), 2)).astype(np.float32)
        window.apply(batch_of(names, [slot] * len(names), values))


@pytest.mark.parametrize(
    "part",
    [
        lambda array: array[:],
        lambda array: array[2],
        lambda array: array[-1, -3:],
        lambda array: array[1:4],
        lambda array: array[::2, :, 1],
        lambda array: array[[3, 0]],
        lambda array: array[np.array([4, 4, 1]), -2:],
        lambda array: array[np.array([True, False, True, True, False]), 1:3],
        lambda array: array[..., 0],
        lambda array: array[..., [1, 0]],
        lambda array: array[np.array([0, 2]), :, np.array([1, 0])],
        lambda array: array[np.array([0, 2]), np.array([1, 5])],
        lambda array: array[:, ::-1],
        lambda array: array[:, 4:2],
        lambda array: np.isnan(array),
    ],
)
@pytest.mark.parametrize("last", range(100, 100 + LENGTH))
def test_a_part_of_a_view_is_that_part_of_a_copy(part: Callable[[Any], Any], last: int) -> None:
    names, parts = tuple(f"s{number}" for number in range(SERVERS)), []
    for copied_servers in (0, SERVERS):
        window = window_of(copied_servers=copied_servers)
        fill(window, names, last=last, slots=LENGTH)
        snapshot = window.snapshot()
        fill(window, names, last=last + 2, slots=2)
        parts.append(part(snapshot.values))
    np.testing.assert_array_equal(*parts, strict=True)


def test_a_snapshot_of_a_large_window_takes_a_small_part_of_a_copy() -> None:
    servers, length = 20_000, 48
    names = tuple(map(str, range(servers)))
    window = window_of(copied_servers=1000, servers=servers, length=length)
    fill(window, names, last=100, slots=length)
    copy = servers * length * (len(METRICS) * 4 + 1)
    tracemalloc.start()
    snapshot = window.snapshot()
    fill(window, names, last=101, slots=1)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert snapshot.values.shape == (servers, length, len(METRICS))
    assert held < copy / 2
