from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.small_fleet import FIRST_SLOT, fleet_of, series_of

from nordiq_watch.errors import DatasetError
from nordiq_watch.evaluation.origins import Horizon, Order, choose_horizons, choose_origins
from nordiq_watch.evaluation.recorded_fleet import RecordedFleet

DATA = Path("data")


def fleet(slots: int) -> RecordedFleet:
    return RecordedFleet(fleet_of(series_of(np.zeros((slots, 2)))))


def test_origins_are_those_of_the_last_days_that_hold_a_whole_horizon() -> None:
    """The first of them, and as many as there are, were counted by hand."""
    origins = choose_origins(fleet(2880), Order(DATA, days=2), history=288, horizon=96)
    assert [origin - FIRST_SLOT for origin in origins] == list(range(2304, 2785, 12))
    assert len(origins) == 41


def test_they_are_as_far_apart_as_ordered_and_never_less_than_a_slot() -> None:
    assert len(choose_origins(fleet(600), Order(DATA, days=1, every_seconds=7200), history=288, horizon=96)) == 9
    assert len(choose_origins(fleet(600), Order(DATA, days=1, every_seconds=1), history=288, horizon=96)) == 193


def test_the_dataset_may_be_just_long_enough() -> None:
    assert len(choose_origins(fleet(288 + 288), Order(DATA, days=1), history=288, horizon=288)) == 1


@pytest.mark.parametrize(
    ("slots", "days", "words"),
    [
        (576, 1.01, "data: holds 576 slots of 300 s, of which 288 are needed before the first origin: too few for "
                    "--days 1.01. Evaluate at most 1 days."),
        (300, 1, "data: holds 300 slots of 300 s, but one forecast needs 288 before its origin and 96 after it"),
        (2880, 0.1, "--days 0.1 are 29 slots of 300 s, one forecast covers 96. Evaluate at least 0.34 days."),
    ],
)  # fmt: skip
def test_what_is_too_short_is_said_with_what_would_do(slots: int, days: float, words: str) -> None:
    with pytest.raises(DatasetError) as error:
        choose_origins(fleet(slots), Order(DATA, days=days), history=288, horizon=96)
    assert str(error.value) == words


def test_the_remedies_work() -> None:
    assert choose_origins(fleet(576), Order(DATA, days=1), history=288, horizon=96)
    assert choose_origins(fleet(2880), Order(DATA, days=0.34), history=288, horizon=96)


@pytest.mark.parametrize(
    ("interval_seconds", "steps", "expected"),
    [
        (300, 96, [(1800, 6), (7200, 24), (28_800, 96)]),
        (300, 144, [(1800, 6), (7200, 24), (28_800, 96), (43_200, 144)]),
        (300, 4, [(1200, 4)]),
        (3600, 12, [(7200, 2), (28_800, 8), (43_200, 12)]),
    ],
)
def test_horizons_are_those_within_the_models_and_its_own(
    interval_seconds: int, steps: int, expected: list[tuple[int, int]]
) -> None:
    found = choose_horizons((1800, 7200, 28_800), interval_seconds=interval_seconds, steps=steps)
    assert found == tuple(Horizon(*each) for each in expected)
