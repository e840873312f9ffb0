from __future__ import annotations

import numpy as np
import pytest
from support.small_fleet import FIRST_SLOT, fleet_of, series_of, wavy

from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.metrics import STATUSES, UNKNOWN_STATUS

BOTH = range(2)


def test_servers_are_in_order_of_their_names() -> None:
    fleet = RecordedFleet(fleet_of(series_of(wavy(10), server="b"), series_of(wavy(20, seed=1), server="a")))
    assert fleet.servers == ("a", "b")
    assert fleet.profiles == ("Database", "Database")
    assert (fleet.first_slot, fleet.end_slot) == (FIRST_SLOT, FIRST_SLOT + 20)
    values = fleet.values(FIRST_SLOT, FIRST_SLOT + 10, servers=BOTH)
    np.testing.assert_array_equal(values[0], wavy(20, seed=1)[:10])
    np.testing.assert_array_equal(values[1], wavy(10))


def test_what_no_series_covers_is_unknown() -> None:
    early, late = wavy(5), wavy(7, seed=1)
    pieces = series_of(early), series_of(late, first_slot=FIRST_SLOT + 25)
    fleet = RecordedFleet(fleet_of(*pieces))
    (values,) = fleet.values(FIRST_SLOT - 2, FIRST_SLOT + 30, servers=range(1))
    assert values.shape == (32, 2)
    np.testing.assert_array_equal(values[2:7], early)
    np.testing.assert_array_equal(values[27:], late[:5])
    assert np.isnan(values[:2]).all()
    assert np.isnan(values[7:27]).all()


def test_a_window_ends_before_its_origin_and_knows_nothing_of_later_slots() -> None:
    values = wavy(30)
    fleet = RecordedFleet(fleet_of(series_of(values)))
    window = fleet.window(FIRST_SLOT + 20, length=12, servers=range(1))
    assert window.last_slot == FIRST_SLOT + 19
    np.testing.assert_array_equal(window.values[0], values[8:20])
    changed = values.copy()
    changed[20:] = 0
    other = RecordedFleet(fleet_of(series_of(changed))).window(FIRST_SLOT + 20, length=12, servers=range(1))
    np.testing.assert_array_equal(window.values, other.values)


def test_a_window_has_the_statuses_of_its_slots() -> None:
    codes = np.arange(30) % len(STATUSES)
    fleet = RecordedFleet(fleet_of(series_of(wavy(30), statuses=codes)))
    window = fleet.window(FIRST_SLOT + 10, length=12, servers=range(1))
    assert (window.statuses[0, :2] == UNKNOWN_STATUS).all()
    np.testing.assert_array_equal(window.statuses[0, 2:], codes[:10])


@pytest.mark.parametrize("servers", [range(1), range(1, 3)])
def test_a_portion_of_the_fleet_has_its_own_rows(servers: range) -> None:
    fleet = RecordedFleet(fleet_of(*[series_of(wavy(20, seed=seed), server=f"s{seed}") for seed in range(3)]))
    window = fleet.window(FIRST_SLOT + 20, length=12, servers=servers)
    assert window.servers == tuple(f"s{number}" for number in servers)
    for row, number in enumerate(servers):
        np.testing.assert_array_equal(window.values[row], wavy(20, seed=number)[8:])
