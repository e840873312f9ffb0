from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from pytorch_forecasting import TimeSeriesDataSet
from support.library_dataset import library_dataset
from support.small_fleet import FIRST_SLOT, INTERVAL_SECONDS, TINY, fleet_of, series_of, wavy

from nordiq_watch.network.derived_inputs import LAGS, lag_slots, split_name
from nordiq_watch.network.features import Features
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.derived_windows import LagChoice
from nordiq_watch.training.export import export_model
from nordiq_watch.training.forecaster import build_forecaster
from nordiq_watch.training.library_inputs import Windows
from nordiq_watch.training.timeseries import Split, split_by_time
from nordiq_watch.training.windows import Places

SLOTS = 60
HORIZON = TINY.max_prediction_length


def fleet(metrics: int) -> FleetData:
    """Three servers, the last one new and without the last metric."""
    statuses = np.arange(SLOTS) % 4
    lacking = wavy(SLOTS - 30, metrics=metrics, seed=2)
    if metrics > 1:
        lacking[:, -1] = np.nan
    return fleet_of(
        series_of(wavy(SLOTS, metrics=metrics), server="a", statuses=statuses),
        series_of(wavy(SLOTS, metrics=metrics, seed=1), server="b", statuses=statuses),
        series_of(lacking, server="c", first_slot=FIRST_SLOT + 30, statuses=statuses[30:]),
    )


def reference(split: Split, data: FleetData, part: str) -> tuple[Windows, TimeSeriesDataSet]:
    """A half's windows, and the library's dataset of the same rows."""
    windows: Windows = getattr(split, part)
    if part == "training":
        return windows, library_dataset(split, data, windows.source.series)
    series = [one.between(split.cutoff_slot - TINY.max_encoder_length, one.end_slot) for one in windows.source.series]
    return windows, library_dataset(split, data, series, first_slot=split.cutoff_slot)


def places_of(dataset: TimeSeriesDataSet, windows: Windows, origin_slot: int) -> tuple[Places, np.ndarray]:
    """Where the windows of the dataset's index lie, and how long their encoders are."""
    index = dataset.index
    lengths = index["sequence_length"].to_numpy(dtype=np.int64) - HORIZON
    series = index["sequence_id"].to_numpy(dtype=np.int64)
    first_slots = np.array([one.first_slot for one in windows.source.series])
    return Places(series, index["time"].to_numpy() + origin_slot - first_slots[series] + lengths), lengths


def as_list(value: Any) -> list[torch.Tensor]:
    return list(value) if isinstance(value, list) else [value]


@pytest.mark.parametrize("metrics", [1, 2])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_batches_are_those_of_the_library(metrics: int, part: str) -> None:
    data = fleet(metrics)
    split = split_by_time(data, config=TINY, per_server=True)
    windows, dataset = reference(split, data, part)
    places, lengths = places_of(dataset, windows, split.origin_slot)
    rows = np.random.default_rng(0).permutation(len(dataset))
    assert len(np.unique(lengths)) > 2  # short encoders are among them
    x, (y, weight) = windows.batch(Places(places.series[rows], places.origins[rows]), lengths[rows])
    expected_x, (expected_y, expected_weight) = dataset._collate_fn([dataset[row] for row in rows])
    future_unknown = [dataset.reals.index(target) for target in dataset.target_names]
    expected_x["decoder_cont"][..., future_unknown] = 0.0
    for column, name in enumerate(dataset.reals):
        if split_name(name, dataset.target_names):  # the library cannot compute these
            for part in ("encoder_cont", "decoder_cont"):
                expected_x[part][..., column] = x[part][..., column]
    assert x.keys() == expected_x.keys()
    assert weight is expected_weight is None
    for key, expected in [*expected_x.items(), ("y", expected_y)]:
        for mine, theirs in zip(as_list({**x, "y": y}[key]), as_list(expected), strict=True):
            assert mine.dtype == theirs.dtype, key
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6, msg=key)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_every_forecast_of_the_library_is_a_window_with_the_longest_encoder(part: str) -> None:
    data = fleet(2)
    split = split_by_time(data, config=TINY)
    windows, dataset = reference(split, data, part)
    places, lengths = places_of(dataset, windows, split.origin_slot)
    longest: dict[tuple[int, int], int] = {}
    for series, origin, length in zip(*places, lengths, strict=True):
        longest[series, origin] = max(longest.get((series, origin), 0), length)
    mine = windows.source.locate(np.arange(len(windows)))
    x, _ = windows.batch(mine)
    assert {pair: int(length) for pair, length in zip(zip(*mine, strict=True), x["encoder_lengths"], strict=True)} == (
        longest
    )


def test_the_skeleton_holds_one_window() -> None:
    split = split_by_time(fleet(2), config=TINY)
    assert len(split.skeleton.data["time"]) == split.training.shortest + HORIZON


@pytest.mark.parametrize(
    ("interval_seconds", "lags"),
    [
        (300, LagChoice()),
        (7200, LagChoice(decoder=("day_before",))),  # a day has as many slots as TINY's encoder
        (14_400, LagChoice(decoder=LAGS, encoder=LAGS)),
    ],
)
@pytest.mark.parametrize("history", [TINY.max_encoder_length, 7])
def test_a_training_window_and_the_daemon_s_window_of_the_same_slots_are_the_same_inputs(
    history: int, interval_seconds: int, lags: LagChoice
) -> None:
    data = replace(fleet(2), interval_seconds=interval_seconds)
    split = split_by_time(data, config=TINY, per_server=True, lags=lags)
    place = Places(np.array([1]), np.array([44]))
    x, _ = split.training.batch(place, np.array([history]))
    spec = msgspec.structs.replace(spec_of(split), interval_seconds=interval_seconds)
    inputs = Features(spec).build(snapshot_before(split, place, history, interval_seconds), np.array([0]))
    for target in split.fill_values:
        for kind in lags.decoder:
            known = x["decoder_cont"][..., split.skeleton.reals.index(f"{target}_{kind}")]
            reach = history if history < TINY.max_encoder_length else 44
            assert bool(known.any()) == (reach + HORIZON > lag_slots(kind, interval_seconds))
    assert inputs.encoder_lengths.tolist() == x["encoder_lengths"].tolist() == [history]
    for mine, theirs in (
        (inputs.encoder_cat, x["encoder_cat"]),
        (inputs.encoder_cont, x["encoder_cont"]),
        (inputs.decoder_cont, x["decoder_cont"]),
        *zip(inputs.output_scales, x["target_scale"], strict=True),
    ):
        assert torch.equal(mine, theirs)
    static = [name != "status" for name in split.skeleton.flat_categoricals]
    assert torch.equal(inputs.decoder_cat[..., static], x["decoder_cat"][..., static])


def spec_of(split: Split) -> ModelSpec:
    spec, _ = export_model(
        build_forecaster(split, TINY, embedding_lengths={}),
        split.skeleton,
        interval_seconds=INTERVAL_SECONDS,
        metrics=list(split.fill_values),
        fill_values=split.fill_values,
        created_at="2025-01-30T14:30:00+00:00",
        training_config={},
    )
    return spec


def snapshot_before(split: Split, place: Places, history: int, interval_seconds: int) -> WindowSnapshot:
    """What the daemon's window of 60 slots holds just before that origin; of a shorter history nothing before it."""
    series, origin = split.training.source.series[place.series[0]], int(place.origins[0])
    values = np.full((1, 60, len(split.fill_values)), np.nan, dtype=np.float32)
    statuses = np.zeros((1, 60), dtype=np.uint8)
    assert series.statuses is not None
    known = history if history < TINY.max_encoder_length else origin
    values[0, -known:] = series.values[origin - known : origin]
    statuses[0, -known:] = series.statuses[origin - known : origin]
    return WindowSnapshot(
        servers=(series.server,),
        profiles=(series.profile,),
        metrics=tuple(split.fill_values),
        interval_seconds=interval_seconds,
        last_slot=series.first_slot + origin - 1,
        values=values,
        statuses=statuses,
    )
