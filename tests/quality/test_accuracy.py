from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import A_SLOT, NAN, made_of
from support.forecasts import MODEL

from nordiq_watch.quality.accuracy import choose_rows, make_pending, score
from nordiq_watch.records.accuracy import PendingForecast
from nordiq_watch.records.samples import Measured

METRICS = ("cpu_user_pct", "mem_used_pct")


def claims_of(*horizons: int, steps: int = 4) -> list[PendingForecast]:
    ahead = [[[[k - 1 + 10 * s, k + 10 * s, k + 1 + 10 * s] for k in range(steps)]] for s in range(2)]
    made = made_of([[5.0], [7.0]], ahead, metrics=("cpu_user_pct",))
    return make_pending(made, horizons_seconds=horizons, rows=np.arange(2))


def came(values: dict[str, list[float]], metrics: tuple[str, ...] = ("cpu_user_pct",)) -> Measured:
    return Measured(tuple(values), metrics, np.array(list(values.values()), dtype=np.float32))


def test_a_claim_is_about_the_slot_that_is_so_far_ahead() -> None:
    first, third = claims_of(300, 900, 1500, 100)
    assert (first.due_slot, third.due_slot, third.origin_slot) == (A_SLOT + 1, A_SLOT + 3, A_SLOT)
    assert (first.model, first.sha256, third.horizon_seconds) == (MODEL.name, MODEL.sha256, 900)
    np.testing.assert_array_equal(first.values, [[[0, 0, 1, 5]], [[9, 10, 11, 7]]])  # below 0 is not possible
    np.testing.assert_array_equal(third.values, [[[1, 2, 3, 5]], [[11, 12, 13, 7]]])


def test_quantiles_that_cross_are_claimed_in_order() -> None:
    (only,) = make_pending(made_of([[5.0]], [[[[30, 10, 20]]]]), horizons_seconds=[300], rows=np.arange(1))
    assert only.values[0, 0, :3].tolist() == [10, 20, 30]


def test_last_is_the_newest_measurement_however_old() -> None:
    made = made_of([[5.0]], [[[9.0]]])
    made.snapshot.values[0, -4:] = NAN
    made.snapshot.values[0, -5] = 3
    (only,) = make_pending(made, horizons_seconds=[300], rows=np.arange(1))
    assert only.values[0, 0, -1] == 3


def slow_score(claimed: list[list[float]], truth: list[float]) -> list[float]:
    """Points, and the five sums, of one metric, one point at a time: [p10, p50, p90, last] and what came."""
    sums = [0.0] * 6
    for (p10, p50, p90, last), y in zip(claimed, truth, strict=True):
        if any(np.isnan(number) for number in (p10, p50, p90, last, y)):
            continue

        def pinball(p10: float, p50: float, p90: float, y: float) -> float:
            return sum(
                q * (y - p) if y >= p else (1 - q) * (p - y) for q, p in ((0.1, p10), (0.5, p50), (0.9, p90))
            ) / 3  # fmt: skip

        for column, value in enumerate(
            (1, abs(y - p50), pinball(p10, p50, p90, y), p10 <= y <= p90, abs(y - last), pinball(last, last, last, y))
        ):
            sums[column] += value
    return sums


numbers = st.one_of(st.floats(0, 100, width=32), st.just(NAN))


@given(st.lists(st.tuples(st.lists(numbers, min_size=4, max_size=4), numbers), min_size=1, max_size=6))
def test_scores_are_those_of_the_slow_version(points: list[tuple[list[float], float]]) -> None:
    claimed = [sorted(values[:3]) + values[3:] for values, _ in points]
    servers = tuple(f"s{number}" for number in range(len(points)))
    values = np.array(claimed, dtype=np.float32)[:, None]
    claimed_by = PendingForecast("m", "ab", 1, 2, 300, 300, servers, ("cpu_user_pct",), values)
    truth = came({name: [y] for name, (_, y) in zip(servers, points, strict=True)})
    expected = slow_score(claimed, [y for _, y in points])
    tallies = list(score(claimed_by, truth).values())
    if not expected[0]:
        assert tallies == []
        return
    (sums,) = tallies
    found = [sums.points, sums.absolute_error, sums.pinball, sums.covered, sums.last_absolute_error,
             sums.last_pinball]  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_each_metric_has_its_own_book_and_servers_are_found_by_name() -> None:
    made = made_of([[5, 50], [7, 70]], [[[6], [60]], [[8], [80]]], metrics=METRICS)
    (only,) = make_pending(made, horizons_seconds=[300], rows=np.arange(2))
    truth = came({"s1": [80, 8.5], "other": [1, 1], "s0": [NAN, 6]}, metrics=("mem_used_pct", "cpu_user_pct"))
    tallies = {key.metric: sums for key, sums in score(only, truth).items()}
    assert (tallies["cpu_user_pct"].points, tallies["cpu_user_pct"].absolute_error) == (2, 0.5)
    assert (tallies["mem_used_pct"].points, tallies["mem_used_pct"].last_absolute_error) == (1, 10)


def test_nothing_came_of_a_metric_that_the_config_dropped() -> None:
    (only,) = claims_of(300)
    assert score(only, came({"s0": [1]}, metrics=("mem_used_pct",))) == {}


def test_a_sample_of_a_fleet_is_always_the_same_names() -> None:
    names = [f"vm-{number}" for number in range(500)]
    chosen = {names[row] for row in choose_rows(names, 50)}
    shuffled = [*names[::-1], "newcomer"]
    again = {shuffled[row] for row in choose_rows(shuffled, 50)}
    assert len(chosen) == 50
    assert len(chosen - again) <= 1
    assert choose_rows(names[:3], 50).tolist() == [0, 1, 2]
