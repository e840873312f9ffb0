"""Counts of measured cells, through the window that holds them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch
from support.slow_window import SlowWindow
from support.windows import BATCHES, LENGTH, SILENT_SLOTS, make_window


@pytest.mark.slow
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


def test_other_counts_can_be_asked_for_after_it_was_cleared() -> None:
    window = make_window()
    window.apply(make_batch([Sample("a", 5, {METRICS[0]: 1.0})]))
    window.clear()
    assert window.samples_within(3, METRICS[:1]).tolist() == []
    window.apply(make_batch([Sample("a", 7, {METRICS[0]: 1.0}), Sample("b", 7, {METRICS[1]: 1.0})]))
    assert window.samples_within(3, METRICS[:1]).tolist() == [1, 0]
