"""The numbers of a report, against an independent computation from the raw arrays, loop by loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.networks import network_spec, servable_of, snapshot_of
from support.small_fleet import BEGIN, FIRST_SLOT, METRICS, write_dataset

from nordiq_watch.errors import DatasetError
from nordiq_watch.evaluation import rolling
from nordiq_watch.evaluation.evaluator import compare, evaluate
from nordiq_watch.evaluation.origins import Order
from nordiq_watch.evaluation.report import Evaluation, Score
from nordiq_watch.live.servable import Servable
from nordiq_watch.records.forecasts import Forecast
from nordiq_watch.spec import FleetCalendar

DAY = 288
SLOTS = 2 * DAY + 40
SERVERS = ("ppdb001", "ppdb002", "ppweb001")
PROFILES = ("Database", "Database", "Web API")
LONG_GAP = slice(DAY + 30, DAY + 60)
"""Slots without samples of the second server: more than are filled."""
ENCODER, HORIZON = 12, 4


def fleet_values() -> np.ndarray:
    """(servers, slots, metrics): random walks; the second server is away for a while, the third has no memory."""
    random = np.random.default_rng(5)
    values = (50 + random.normal(0, 0.7, (3, SLOTS, 2)).cumsum(axis=1)).clip(1, 99).astype(np.float32)
    values[1, LONG_GAP] = np.nan
    values[2, :, 1] = np.nan
    return values


def write_fleet(directory: Path, values: np.ndarray) -> Path:
    times = BEGIN + pd.to_timedelta(np.arange(SLOTS) * 300, unit="s")
    tables = []
    for server, own in zip(SERVERS, values, strict=True):
        table = pd.DataFrame(own.astype(np.float64), columns=list(METRICS))
        table.insert(0, "server_name", server)
        table.insert(0, "timestamp", times)
        tables.append(table.dropna(how="all", subset=list(METRICS)))
    return write_dataset(directory, pd.concat(tables, ignore_index=True))


Key = tuple[str, int, str, str | None, str]
"""Metric, horizon, kind of group, group, forecast."""
Losses = dict[Key, list[tuple[float, float, float]]]
"""Absolute error, pinball loss and whether it was inside, of each point that counts."""


def expected_losses(
    values: np.ndarray, models: dict[str, Servable], origins: Sequence[int], horizons: Sequence[int]
) -> Losses:
    losses: Losses = defaultdict(list)
    for origin in origins:
        encoder = values[:, origin - ENCODER : origin]
        snapshot = snapshot_of(encoder, servers=SERVERS, profiles=PROFILES, last_slot=FIRST_SLOT + origin - 1)
        served = {name: model.forecast(snapshot) for name, model in models.items()}
        for server, metric, step in product(range(3), range(2), range(HORIZON)):
            truth = float(values[server, origin + step, metric])
            bands = known_bands(served, values, origin, server, metric, step)
            if bands is None or np.isnan(truth):
                continue
            hour = f"{(FIRST_SLOT + origin + step) * 300 // 3600 % 24:02}"
            groups = (("all", None), ("profile", PROFILES[server]), ("hour", hour))
            reached = [horizon for horizon in horizons if step < horizon // 300]
            for horizon, group, (name, band) in product(reached, groups, bands.items()):
                losses[(METRICS[metric], horizon, *group, name)].append(losses_of(band, truth))
    return losses


def known_bands(
    served: dict[str, Forecast], values: np.ndarray, origin: int, server: int, metric: int, step: int
) -> dict[str, np.ndarray] | None:
    """Forecaster → p10, p50 and p90 of one point; None if it does not count."""
    bands = {}
    for name, forecast in served.items():
        if server not in forecast.rows:
            return None
        bands[name] = forecast.bands[forecast.rows.tolist().index(server), metric, step].astype(np.float64)
    past = values[server, origin - ENCODER : origin, metric]
    measured = past[~np.isnan(past)]
    if not len(measured) or any(np.isnan(band).any() for band in bands.values()):
        return None
    bands["last_value"] = np.repeat(np.float64(measured[-1]), 3)
    yesterday = float(values[server, origin + step - DAY, metric])
    if not np.isnan(yesterday):
        bands["day_before"] = np.repeat(yesterday, 3)
    return bands


def losses_of(band: np.ndarray, truth: float) -> tuple[float, float, float]:
    pinball = 0.0
    for level, quantile in zip((0.1, 0.5, 0.9), band, strict=True):
        pinball += (level * (truth - quantile) if truth >= quantile else (1 - level) * (quantile - truth)) / 3
    return abs(truth - band[1]), pinball, float(band[0] <= truth <= band[2])


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return fleet_values()


@pytest.fixture
def dataset(tmp_path: Path, values: np.ndarray) -> Path:
    return write_fleet(tmp_path / "data", values)


def test_every_score_is_the_mean_over_the_points_that_count(
    dataset: Path, values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "SERVERS_AT_ONCE", 2)  # as in a fleet that is larger than a portion
    models = {"model": servable_of(network_spec(), seed=1), "live": servable_of(network_spec(), seed=2, generation=2)}
    order = Order(dataset, days=1, every_seconds=1500, horizons_seconds=(600, 7200))
    report = evaluate(models["model"], order, live=models["live"])
    origins = range(SLOTS - DAY, SLOTS - HORIZON + 1, 5)
    assert report.setting.origins == len(origins)
    assert (report.setting.first_origin, report.setting.servers) == ("2025-01-07T03:20:00+00:00", 3)
    expected = expected_losses(values, models, origins, horizons=(600, 1200))
    found: dict[Key, Score] = {(s.metric, s.horizon_seconds, s.by, s.of, s.forecast): s for s in report.scores}
    assert found.keys() == expected.keys()
    for key, losses in expected.items():
        score = found[key]
        mae, pinball, coverage = np.mean(losses, axis=0)
        assert score.points == len(losses), key
        assert score.mae == pytest.approx(mae, rel=1e-5), key
        assert score.pinball == pytest.approx(pinball, rel=1e-5), key
        assert score.coverage == (None if key[-1] in ("last_value", "day_before") else pytest.approx(coverage)), key


def test_a_comparison_has_the_means_over_common_points_and_their_difference(dataset: Path, values: np.ndarray) -> None:
    a, b = servable_of(network_spec(), seed=1), servable_of(network_spec(), seed=2)
    report = compare(a, b, Order(dataset, days=1, every_seconds=1500, horizons_seconds=(600,)))
    expected = expected_losses(values, {"a": a, "b": b}, range(SLOTS - DAY, SLOTS - HORIZON + 1, 5), (600, 1200))
    assert len(report.differences) == 2 * 2 * 2  # metrics, horizons, losses
    for each in report.differences:
        column = ("mae", "pinball").index(each.loss)
        of_a, of_b = (
            np.mean(expected[(each.metric, each.horizon_seconds, "all", None, name)], axis=0)[column]
            for name in ("a", "b")
        )
        assert [each.a, each.b] == pytest.approx([of_a, of_b], rel=1e-5)
        assert each.difference == pytest.approx(of_b - of_a, rel=1e-3, abs=1e-6)
        assert (each.verdict, each.days, each.p) == ("too_few_days", 1, None)


def test_hours_are_those_of_the_versions_zone(dataset: Path) -> None:
    """At an hour east of Greenwich, what was measured at 01:00 UTC counts for 02."""
    order = Order(dataset, days=1)
    model = servable_of(network_spec())
    east = servable_of(network_spec(calendar=FleetCalendar(zone="Etc/GMT-1")))
    in_utc, there = (
        {s.of: s.mae for s in evaluate(each, order).scores if s.by == "hour" and s.forecast == "last_value"}
        for each in (model, east)
    )
    assert there == {f"{(int(hour or 0) + 1) % 24:02}": mae for hour, mae in in_utc.items()}


def find(report: Evaluation, forecast: str, metric: str = "cpu_user_pct") -> list[Score]:
    return [s for s in report.scores if s.by == "all" and s.forecast == forecast and s.metric == metric]


def test_a_live_version_with_a_shorter_horizon_is_shown_as_far_as_it_goes(dataset: Path) -> None:
    short = servable_of(network_spec(max_prediction_length=2))
    order = Order(dataset, days=1, horizons_seconds=(600,))
    alone = evaluate(servable_of(), order)
    beside = evaluate(servable_of(), order, live=short)
    assert [score.horizon_seconds for score in find(beside, "live")] == [600]
    assert find(beside, "model") == find(alone, "model")


def test_a_live_version_with_other_targets_is_shown_on_those_that_both_have(dataset: Path) -> None:
    other = servable_of(network_spec(targets=("mem_used_pct",)))
    report = evaluate(servable_of(), Order(dataset, days=1), live=other)
    assert find(report, "live") == []
    assert find(report, "live", "mem_used_pct") != []


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"interval_seconds": 600}, "has slots of 600 s and is not shown"),
        ({"targets": ("swap_used_pct",)}, "reads swap_used_pct, which the dataset lacks; it is not shown"),
    ],
)
def test_a_live_version_that_cannot_forecast_this_dataset_is_a_note(
    changes: dict[str, Any], note: str, dataset: Path
) -> None:
    report = evaluate(servable_of(), Order(dataset, days=1), live=servable_of(network_spec(**changes)))
    assert report.live is None
    assert note in report.notes[-1]


def test_versions_of_two_intervals_are_not_compared(dataset: Path) -> None:
    with pytest.raises(DatasetError, match=r"has slots of 300 s, .* of 600 s"):
        compare(servable_of(), servable_of(network_spec(interval_seconds=600)), Order(dataset))


def test_versions_without_a_common_target_are_not_compared(dataset: Path) -> None:
    one, other = (servable_of(network_spec(targets=(target,))) for target in METRICS)
    with pytest.raises(DatasetError, match=r"forecasts cpu_user_pct, .* mem_used_pct: nothing to compare"):
        compare(one, other, Order(dataset))


def test_a_metric_that_the_dataset_lacks_is_named(dataset: Path) -> None:
    model = servable_of(network_spec(targets=("cpu_user_pct", "swap_used_pct")))
    with pytest.raises(DatasetError, match=r"has no swap_used_pct, which tft_model_.* reads; it has cpu_user_pct"):
        evaluate(model, Order(dataset))


@pytest.mark.parametrize(("step", "refused"), [(2, False), (3, True)])
def test_samples_that_are_farther_apart_than_slots_are_refused(step: int, refused: bool, dataset: Path) -> None:
    """Half of the slots filled is a dataset with gaps, two thirds is one with another interval."""
    table = pd.read_parquet(dataset / "metrics.parquet")
    write_dataset(dataset, table[table.groupby("server_name").cumcount() % step == 0])
    order = Order(dataset, days=0.1)
    if not refused:
        assert evaluate(servable_of(), order).scores
        return
    line = r"67% of its slots of 300 s, the interval of tft_model_\S+, have no sample: it was measured less often"
    line += r" \(rows come every 900 s\)"
    with pytest.raises(DatasetError, match=line):
        evaluate(servable_of(), order)


def test_progress_is_told_after_each_origin(dataset: Path) -> None:
    told: list[tuple[int, int]] = []
    evaluate(servable_of(), Order(dataset, days=0.1), progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
