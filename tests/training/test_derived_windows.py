"""Which lags a model gets; tests/training/test_library_inputs.py compares the inputs with those of the daemon."""

from __future__ import annotations

import pytest

from nordiq_watch.network.derived_inputs import LAGS
from nordiq_watch.training.derived_windows import LagChoice, choose_lags


@pytest.mark.parametrize(
    ("window_length", "chosen"),
    [
        (287, LagChoice()),
        (288, LagChoice(decoder=("day_before",))),
        (576, LagChoice(decoder=("day_before",), encoder=("day_before",))),
        (2015, LagChoice(decoder=("day_before",), encoder=("day_before",))),
        (2016, LagChoice(decoder=LAGS, encoder=("day_before",))),
        (2304, LagChoice(decoder=LAGS, encoder=LAGS)),
    ],
)
def test_a_model_reads_the_days_that_the_window_holds(window_length: int, chosen: LagChoice) -> None:
    assert choose_lags(window_length=window_length, encoder=288, interval_seconds=300) == chosen
