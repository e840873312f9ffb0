"""The ring, through the window that holds it."""

from __future__ import annotations

import numpy as np
from support.batches import Sample, make_batch
from support.windows import LENGTH, make_window


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


def test_it_grows_and_keeps_what_it_has() -> None:
    window, fleet = make_window(), [f"server{number:04}" for number in range(700)]
    for slot, count in enumerate((1, 63, 65, 300, 700)):
        window.apply(make_batch([Sample(name, slot, {"cpu_user_pct": float(slot)}) for name in fleet[:count]]))
    assert window.servers_tracked == 700
    assert window.size == 1 + 63 + 65 + 300 + 700
    np.testing.assert_array_equal(window.snapshot().values[0, :, 0], [np.nan, 0, 1, 2, 3, 4])
