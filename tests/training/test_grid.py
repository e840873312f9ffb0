from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.network.gaps import MAX_GAP_SLOTS
from nordiq_watch.training.grid import fill_short_gaps

NAN = float("nan")


def fill_slowly(column: Sequence[float]) -> list[float]:
    """The rule, word by word."""
    filled = list(column)
    slot = 0
    while slot < len(column):
        end = slot
        while end < len(column) and np.isnan(column[end]):
            end += 1
        if 0 < end - slot <= MAX_GAP_SLOTS:
            neighbour = column[slot - 1] if slot else column[end] if end < len(column) else NAN
            filled[slot:end] = [neighbour] * (end - slot)
        slot = max(end, slot + 1)
    return filled


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 16)), min_size=1, max_size=6))
def test_gaps_are_filled_as_the_rule_says(runs: list[tuple[int, int]]) -> None:
    column = [value for number, gap in runs for value in [NAN] * gap + [float(number)]]
    column += [NAN] * runs[0][1]
    grid = np.array(column, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(fill_short_gaps(grid)[:, 0], np.array(fill_slowly(column), dtype=np.float32))


def test_a_grid_without_gaps_is_left_as_it_is() -> None:
    grid = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert fill_short_gaps(grid) is grid
