from __future__ import annotations

import numpy as np
import pytest

from nordiq_watch.pace import measure_paces, round_pace


def test_a_pace_is_the_gap_that_most_samples_keep() -> None:
    steady, outage, lacking = [*range(0, 3600 * 10, 3600)], [0, 60, 120, 180, 90_000, 90_060], [0, 300, 600, 1200, 1500]
    servers = np.repeat([2, 5, 7], [len(steady), len(outage), len(lacking)])
    paces = measure_paces(servers, np.array([*steady, *outage, *lacking]))
    assert paces.servers.tolist() == [2, 5, 7]
    assert paces.gaps.tolist() == [3600, 60, 300]


def test_slots_of_a_pace_between_whole_slots_give_its_mean() -> None:
    slots = np.arange(0, 70_000, 700) // 300
    assert measure_paces(np.zeros(len(slots), dtype=int), slots, grain=1).gaps == pytest.approx(700 / 300, rel=0.01)


@pytest.mark.parametrize("times", [[], [5], [0, 3600, 7200]])
def test_of_few_samples_no_pace_is_known(times: list[int]) -> None:
    assert len(measure_paces(np.zeros(len(times), dtype=int), np.array(times, dtype=int)).servers) == 0


@pytest.mark.parametrize(
    ("seconds", "rounded"), [(3600, 3600), (3597.2, 3600), (1803, 1800), (420, 420), (427, 420), (437.4, 437), (0.2, 1)]
)
def test_a_pace_is_rounded_as_people_set_it(seconds: float, rounded: int) -> None:
    assert round_pace(seconds, 300) == rounded
