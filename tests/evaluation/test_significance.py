from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nordiq_watch.evaluation.significance import Paired, paired_difference
from nordiq_watch.evaluation.students_t import critical_value, two_sided_p


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30])
def test_students_t_is_that_of_scipy(degrees: int) -> None:
    for t in (0.0, 0.3, -1.0, 2.5, 40.0, float("inf")):
        assert two_sided_p(t, degrees=degrees) == pytest.approx(2 * stats.t.sf(abs(t), degrees), abs=1e-12)
    assert critical_value(0.05, degrees=degrees) == pytest.approx(stats.t.ppf(0.975, degrees))


def test_it_is_the_t_test_on_the_means_of_the_days() -> None:
    random = np.random.default_rng(3)
    by_day = random.normal(-0.4, 0.3, size=(7, 24))
    points = np.full(168, 50.0)
    found = paired_difference(by_day.ravel() * points, points, days=7)
    expected = stats.ttest_1samp(by_day.mean(axis=1), 0.0)
    interval = expected.confidence_interval(0.95)
    assert found.days == 7
    assert found.mean == pytest.approx(by_day.mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])


def test_points_weigh_within_a_day() -> None:
    sums, points = np.array([3.0, 0.0, 1.0, 2.0, 2.0, 2.0]), np.array([1.0, 3.0, 1.0, 1.0, 1.0, 1.0])
    found = paired_difference(sums, points, days=3)
    by_day = [3 / 4, 3 / 2, 2.0]
    error = np.std(by_day, ddof=1) / np.sqrt(3)
    assert found.mean == pytest.approx(10 / 8)
    assert found.p == pytest.approx(2 * stats.t.sf(10 / 8 / error, 2))


def test_origins_without_points_are_left_out() -> None:
    sums, points = np.array([1.0, 0, 2, 0, 4, 0]), np.array([1.0, 0, 1, 0, 1, 0])
    assert paired_difference(sums, points, days=3) == paired_difference(sums[::2], points[::2], days=3)


def test_of_fewer_than_three_days_nothing_is_claimed() -> None:
    assert paired_difference(np.full(48, 5.0), np.ones(48), days=2) == Paired(5.0, 2)
    assert paired_difference(np.full(2, 5.0), np.ones(2), days=7) == Paired(5.0, 2), "no more days than origins"


def test_a_version_does_not_differ_from_itself() -> None:
    assert paired_difference(np.zeros(72), np.ones(72), days=3) == Paired(0.0, 3, 0.0, 0.0, 1.0)


def test_without_a_point_there_is_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="no point"):
        paired_difference(np.zeros(3), np.zeros(3), days=3)


@pytest.mark.parametrize("days", [3, 7])
def test_equal_versions_are_rarely_called_different_although_origins_overlap(days: int) -> None:
    """Differences of neighbouring origins share seven of eight hours, and a day has an effect of its own."""
    random, called = np.random.default_rng(1), 0
    for _ in range(400):
        noise = np.convolve(random.normal(size=24 * days + 7), np.ones(8), mode="valid")
        effects = np.repeat(random.normal(0, 3, days), 24)
        found = paired_difference(noise + effects, np.ones(24 * days), days=days)
        called += found.p is not None and found.p < 0.05
    assert called < 400 * 0.08
