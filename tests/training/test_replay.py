from __future__ import annotations

import numpy as np
import torch
from support.network_forecasts import forecast
from support.small_fleet import FIRST_SLOT, INTERVAL_SECONDS, METRICS, TINY, fleet_of, series_of, wavy

from nordiq_watch.metrics import UNKNOWN_STATUS
from nordiq_watch.training.baselines import last_value, true_values
from nordiq_watch.training.batches import ValidationBatches
from nordiq_watch.training.export import export_model
from nordiq_watch.training.forecaster import build_forecaster
from nordiq_watch.training.gate import build_contender
from nordiq_watch.training.replay import Replay, forecast_p50, replay_moments, replay_validation
from nordiq_watch.training.timeseries import split_by_time

LENGTH = 16


def replay(*origins: tuple[int, int]) -> Replay:
    """Windows (series, slots after the fleet's first one) of two series; the second begins six slots later."""
    statuses = np.arange(20) % 3
    series = (
        series_of(wavy(20), server="a", statuses=statuses),
        series_of(wavy(30, seed=1), server="b", first_slot=FIRST_SLOT + 6),
    )
    numbers, slots = np.array(origins).T
    return Replay(series, numbers, slots + FIRST_SLOT, METRICS, INTERVAL_SECONDS, LENGTH)


def test_windows_with_the_same_origin_are_one_snapshot() -> None:
    windows = replay((0, 15), (1, 18), (1, 15))
    (first, snapshot), (second, _) = windows.snapshots()
    assert first.tolist() == [0, 2]
    assert second.tolist() == [1]
    assert snapshot.servers == ("a", "b")
    assert snapshot.last_slot == FIRST_SLOT + 14
    assert snapshot.values.shape == (2, LENGTH, 2)


def test_a_snapshot_ends_before_the_origin_and_is_empty_before_the_series() -> None:
    ((_, snapshot),) = replay((0, 15), (1, 15)).snapshots()
    a, b = wavy(20), wavy(30, seed=1)
    np.testing.assert_array_equal(snapshot.values[0, 1:], a[:15])
    np.testing.assert_array_equal(snapshot.values[1, -9:], b[:9])
    assert np.isnan(snapshot.values[0, :1]).all()
    assert np.isnan(snapshot.values[1, :-9]).all()
    assert snapshot.statuses[0, 1:].tolist() == [slot % 3 for slot in range(15)]
    assert (snapshot.statuses[1] == UNKNOWN_STATUS).all()


def test_true_values_and_baselines_are_picked_from_each_windows_series() -> None:
    windows = replay((1, 18), (0, 15))
    truth = windows.pick(lambda values, origins: true_values(values, origins, steps=3), steps=3)
    last = windows.pick(lambda values, origins: last_value(values, origins, steps=3), steps=3)
    np.testing.assert_array_equal(truth, [wavy(30, seed=1)[12:15], wavy(20)[15:18]])
    np.testing.assert_array_equal(last[:, 0], [wavy(30, seed=1)[11], wavy(20)[14]])


def test_the_daemons_predictor_forecasts_what_the_trained_network_does() -> None:
    lacking = wavy(90, seed=1)
    lacking[:, 1] = np.nan
    split = split_by_time(fleet_of(series_of(wavy(80), server="a"), series_of(lacking, server="b")), config=TINY)
    torch.manual_seed(0)
    forecaster = build_forecaster(split, TINY, embedding_lengths={})
    places = split.validation.source.spread(25)
    expected = forecast(forecaster, ValidationBatches(split.validation, places, batch_size=8))[..., 3]
    spec, tensors = export_model(
        forecaster,
        split.skeleton,
        interval_seconds=INTERVAL_SECONDS,
        metrics=METRICS,
        fill_values=split.fill_values,
        created_at="",
        training_config={},
    )
    windows = replay_validation(split, places, interval_seconds=INTERVAL_SECONDS, length=LENGTH)
    p50 = forecast_p50(build_contender(spec, tensors).predictor, spec, windows, targets=METRICS)
    unmeasured = np.isnan(windows.pick(lambda values, origins: true_values(values, origins, steps=4), steps=4))
    assert unmeasured.any()
    np.testing.assert_array_equal(np.isnan(p50), unmeasured)
    np.testing.assert_allclose(p50[~unmeasured], expected[~unmeasured], rtol=1e-4)
    backwards = forecast_p50(build_contender(spec, tensors).predictor, spec, windows, targets=METRICS[::-1])
    np.testing.assert_array_equal(backwards, p50[..., ::-1])


def test_moments_show_the_end_that_most_series_reach_and_earlier_ones() -> None:
    short, late = series_of(wavy(40), server="short"), series_of(wavy(60), server="late", first_slot=FIRST_SLOT + 40)
    data = fleet_of(short, *(series_of(wavy(100), server=name) for name in ("a", "b")), late)
    shown = [snapshot for _, snapshot in replay_moments(data, shortest_past=10, length=LENGTH).snapshots()]
    assert [snapshot.last_slot + 1 - FIRST_SLOT for snapshot in shown] == [10, 55, 100]
    assert [snapshot.servers for snapshot in shown] == [("short", "a", "b"), ("a", "b", "late"), ("a", "b", "late")]
    np.testing.assert_array_equal(shown[-1].values[0], wavy(100)[-LENGTH:])


def test_moments_show_servers_of_the_whole_fleet_but_not_all_of_many() -> None:
    data = fleet_of(*(series_of(wavy(30), server=f"s{number:03d}") for number in range(200)))
    newest = [snapshot for _, snapshot in replay_moments(data, shortest_past=10, length=LENGTH).snapshots()][-1]
    assert len(newest.servers) == 64
    assert (newest.servers[0], newest.servers[-1]) == ("s000", "s199")
