from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.small_fleet import INTERVAL_SECONDS, TINY, fleet_of, series_of, wavy

from nordiq_watch.network.features import Features
from nordiq_watch.records import WindowSnapshot
from nordiq_watch.spec import ModelSpec
from nordiq_watch.training.batches import UNKNOWN_SHARE, TrainingBatches, ValidationBatches, Windows, spread_evenly
from nordiq_watch.training.export import export_model
from nordiq_watch.training.forecaster import build_forecaster
from nordiq_watch.training.timeseries import Split, split_by_time


def split_of(*, metrics: int = 2, slots: int = 60) -> Split:
    statuses = np.arange(slots) % 4
    data = fleet_of(
        series_of(wavy(slots, metrics=metrics), server="a", statuses=statuses),
        series_of(wavy(slots, metrics=metrics, seed=1), server="b", statuses=statuses),
    )
    return split_by_time(data, config=TINY, per_server=True)


def as_list(value: Any) -> list[torch.Tensor]:
    return list(value) if isinstance(value, list) else [value]


@pytest.mark.parametrize("metrics", [1, 2])
@pytest.mark.parametrize("part", ["training", "validation"])
def test_batches_hold_what_the_library_would_put_there(metrics: int, part: str) -> None:
    dataset = getattr(split_of(metrics=metrics), part)
    rows = np.random.default_rng(0).permutation(len(dataset))
    assert dataset.index["sequence_length"].nunique() > 2  # short encoders are among them
    x, (y, weight) = Windows(dataset).batch(rows)
    expected_x, (expected_y, expected_weight) = dataset._collate_fn([dataset[row] for row in rows])
    future_unknown = [dataset.reals.index(target) for target in dataset.target_names]
    expected_x["decoder_cont"][..., future_unknown] = 0.0
    assert x.keys() == expected_x.keys()
    assert weight is expected_weight is None
    for key, expected in [*expected_x.items(), ("y", expected_y)]:
        for mine, theirs in zip(as_list({**x, "y": y}[key]), as_list(expected), strict=True):
            assert mine.dtype == theirs.dtype, key
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6, msg=key)


@pytest.mark.parametrize("history", [TINY.max_encoder_length, 7])
def test_a_training_window_and_the_daemon_s_window_of_the_same_slots_are_the_same_inputs(history: int) -> None:
    split = split_of()
    windows, rows = Windows(split.training), split.training.index
    lengths = rows["sequence_length"].to_numpy() - TINY.max_prediction_length
    row = int(np.flatnonzero(lengths == history)[1])
    x, _ = windows.batch(np.array([row]))
    inputs = Features(spec_of(split)).build(snapshot_behind(split, row), np.array([0]))
    assert inputs.encoder_lengths.tolist() == x["encoder_lengths"].tolist() == [history]
    for mine, theirs in (
        (inputs.encoder_cat, x["encoder_cat"]),
        (inputs.encoder_cont, x["encoder_cont"]),
        (inputs.decoder_cont, x["decoder_cont"]),
        *zip(inputs.output_scales, x["target_scale"], strict=True),
    ):
        assert torch.equal(mine, theirs)
    static = [name != "status" for name in split.training.flat_categoricals]
    assert torch.equal(inputs.decoder_cat[..., static], x["decoder_cat"][..., static])


def spec_of(split: Split) -> ModelSpec:
    spec, _ = export_model(
        build_forecaster(split, TINY, embedding_lengths={}),
        split.training,
        interval_seconds=INTERVAL_SECONDS,
        metrics=list(split.fill_values),
        fill_values=split.fill_values,
        created_at="2025-01-30T14:30:00+00:00",
        training_config={},
    )
    return spec


def snapshot_behind(split: Split, row: int) -> WindowSnapshot:
    """What the daemon's window holds at the end of that row's encoder, with nothing before the encoder's first slot."""
    index = split.training.index.iloc[row]
    series = split.validation_series[int(index["sequence_id"])]
    begin = split.origin_slot + int(index["time"]) - series.first_slot
    end = begin + int(index["sequence_length"]) - TINY.max_prediction_length
    values = np.full((1, TINY.max_encoder_length, len(split.fill_values)), np.nan, dtype=np.float32)
    statuses = np.zeros((1, TINY.max_encoder_length), dtype=np.uint8)
    assert series.statuses is not None
    values[0, begin - end :], statuses[0, begin - end :] = series.values[begin:end], series.statuses[begin:end]
    return WindowSnapshot(
        servers=(series.server,),
        profiles=(series.profile,),
        metrics=tuple(split.fill_values),
        interval_seconds=INTERVAL_SECONDS,
        last_slot=series.first_slot + end - 1,
        values=values,
        statuses=statuses,
    )


def training_batches(split: Split, *, seed: int = 0, **more: Any) -> TrainingBatches:
    options: dict[str, Any] = {"batch_size": 16, "max_batches": None} | more
    return TrainingBatches(Windows(split.training), seed=seed, **options)


def starts(batches: TrainingBatches) -> list[int]:
    return [int(time) for x, _ in batches for time in x["decoder_time_idx"][:, 0]]


def test_each_pass_is_shuffled_anew_and_the_seed_decides_how() -> None:
    split = split_of()
    batches = training_batches(split, seed=3)
    first, second = starts(batches), starts(batches)
    again = training_batches(split, seed=3)
    assert first != second
    assert [starts(again), starts(again)] == [first, second]
    assert starts(training_batches(split, seed=4)) != first


def test_only_full_batches_are_given_and_no_more_than_asked_for() -> None:
    split = split_of()
    windows = len(split.training)
    batches = training_batches(split)
    assert len(batches) == windows // 16
    assert {len(x["groups"]) for x, _ in batches} == {16}
    assert len(training_batches(split, max_batches=2)) == len(list(training_batches(split, max_batches=2))) == 2
    assert len(training_batches(split, max_batches=10_000)) == windows // 16


def test_a_dataset_smaller_than_a_batch_is_one_batch() -> None:
    split = split_of()
    batches = training_batches(split, batch_size=10_000)
    assert [len(x["groups"]) for x, _ in batches] == [len(split.training)]


def test_labels_are_hidden_at_random_each_in_its_whole_window() -> None:
    split = split_of(slots=300)
    names = split.training.flat_categoricals
    shares = []
    for x, _ in training_batches(split, batch_size=200):
        encoder, decoder = x["encoder_cat"], x["decoder_cat"]
        full = x["encoder_lengths"] == encoder.shape[1]
        for column in (names.index("server_name"), names.index("profile")):
            hidden = encoder[:, 0, column] == 0
            assert torch.equal(hidden[full], (encoder[full][..., column] == 0).all(dim=1))
            assert torch.equal(hidden, (decoder[..., column] == 0).all(dim=1))
            assert torch.equal(hidden, (decoder[..., column] == 0).any(dim=1))
            shares.append(float(hidden.float().mean()))
    assert np.mean(shares) == pytest.approx(UNKNOWN_SHARE, abs=0.03)


def test_nothing_is_hidden_in_validation() -> None:
    split = split_of()
    rows = spread_evenly(split.validation, limit=50)
    server = split.validation.flat_categoricals.index("server_name")
    for x, _ in ValidationBatches(Windows(split.validation), rows, batch_size=16):
        assert (x["decoder_cat"][..., server] > 0).all()


def test_validation_gives_the_rows_in_order() -> None:
    split = split_of()
    rows = spread_evenly(split.validation, limit=7)
    batches = ValidationBatches(Windows(split.validation), rows, batch_size=3)
    assert [len(x["groups"]) for x, _ in batches] == [3, 3, 1]
    assert len(batches) == 3
    whole, _ = Windows(split.validation).batch(rows)
    assert torch.equal(torch.cat([x["decoder_time_idx"] for x, _ in batches]), whole["decoder_time_idx"])


def test_windows_are_spread_over_all_series_with_the_most_history_each() -> None:
    split = split_of()
    index = split.validation.index
    rows = spread_evenly(split.validation, limit=1000)
    chosen = index.loc[rows]
    assert chosen["index_end"].is_unique
    assert set(chosen["index_end"]) == set(index["index_end"])
    assert (chosen["sequence_length"] == TINY.max_encoder_length + TINY.max_prediction_length).all()
    few = index.loc[spread_evenly(split.validation, limit=4)]
    assert len(few) == 4
    assert few["sequence_id"].tolist() == [0, 0, 1, 1]
