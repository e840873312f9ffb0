from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.small_fleet import TINY, fleet_of, series_of, wavy

from nordiq_watch.training import batches as batches_module
from nordiq_watch.training.batches import (
    FORECASTS_PER_SLOT,
    SHORTENED_SHARE,
    UNKNOWN_SHARE,
    TrainingBatches,
    ValidationBatches,
)
from nordiq_watch.training.library_inputs import Batch
from nordiq_watch.training.timeseries import Split, split_by_time


def split_of(*, slots: int = 60) -> Split:
    statuses = np.arange(slots) % 4
    data = fleet_of(
        series_of(wavy(slots), server="a", statuses=statuses),
        series_of(wavy(slots, seed=1), server="b", statuses=statuses),
    )
    return split_by_time(data, config=TINY, per_server=True)


def training_batches(split: Split, *, seed: int = 0, **more: Any) -> TrainingBatches:
    options: dict[str, Any] = {"batch_size": 16, "max_batches": None} | more
    return TrainingBatches(split.training, seed=seed, **options)


def contents(batch: Batch) -> tuple[Any, ...]:
    """What decides a batch: which windows, how long their encoders are, which labels are hidden."""
    x, _ = batch
    return tuple(x[key].tolist() for key in ("groups", "decoder_time_idx", "encoder_lengths", "encoder_cat"))


def first_of(batches: TrainingBatches, count: int) -> list[Batch]:
    return [batches.batch(number) for number in range(count)]


def test_each_batch_has_other_windows_and_the_seed_decides_which() -> None:
    split = split_of()
    first = list(map(contents, first_of(training_batches(split, seed=3), 6)))
    assert all(one != other for number, one in enumerate(first) for other in first[:number])
    assert list(map(contents, first_of(training_batches(split, seed=3), 6))) == first
    assert list(map(contents, first_of(training_batches(split, seed=4), 6))) != first


def test_a_batch_depends_on_its_number_alone() -> None:
    split = split_of()
    batches, later = training_batches(split), training_batches(split)
    first_of(batches, 7)
    assert contents(batches.batch(7)) == contents(later.batch(7))


def test_an_epoch_forecasts_each_slot_a_few_times() -> None:
    split = split_of(slots=400)
    forecasts = len(split.training) * FORECASTS_PER_SLOT
    batches = training_batches(split)
    assert batches.per_epoch * 16 * TINY.max_prediction_length == pytest.approx(forecasts, rel=0.05)
    assert {len(x["groups"]) for x, _ in first_of(batches, 3)} == {16}


def test_an_epoch_has_no_more_batches_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_of()
    usual = training_batches(split).per_epoch
    assert training_batches(split, max_batches=2).per_epoch == 2
    assert training_batches(split, max_batches=10_000).per_epoch == usual
    monkeypatch.setattr(batches_module, "MOST_BATCHES", usual - 1)
    assert training_batches(split).per_epoch == usual - 1


def test_a_dataset_smaller_than_a_batch_is_one_batch() -> None:
    batches = training_batches(split_of(), batch_size=10_000)
    assert batches.per_epoch == 1
    assert len(batches.batch(0)[0]["groups"]) == 10_000


def test_most_encoders_are_as_long_as_possible_and_some_are_shorter() -> None:
    split = split_of(slots=300)
    shortest, longest = split.training.shortest, split.training.longest
    shares = []
    for x, _ in first_of(training_batches(split, batch_size=200), 40):
        origins = x["decoder_time_idx"][:, 0]
        with_history = origins >= longest
        lengths = x["encoder_lengths"]
        assert (lengths <= origins).all()
        assert int(lengths.min()) >= shortest
        shares.append(float((lengths[with_history] < longest).float().mean()))
    uncut = 1 / (longest - shortest + 1)  # a random length may be the longest
    assert np.mean(shares) == pytest.approx(SHORTENED_SHARE * (1 - uncut), abs=0.02)


def test_labels_are_hidden_at_random_each_in_its_whole_window() -> None:
    split = split_of(slots=300)
    names = split.skeleton.flat_categoricals
    shares = []
    for x, _ in first_of(training_batches(split, batch_size=200), 10):
        encoder, decoder = x["encoder_cat"], x["decoder_cat"]
        full = x["encoder_lengths"] == encoder.shape[1]
        for column in (names.index("server_name"), names.index("profile")):
            hidden = encoder[:, 0, column] == 0
            assert torch.equal(hidden[full], (encoder[full][..., column] == 0).all(dim=1))
            assert torch.equal(hidden, (decoder[..., column] == 0).all(dim=1))
            assert torch.equal(hidden, (decoder[..., column] == 0).any(dim=1))
            shares.append(float(hidden.float().mean()))
    assert np.mean(shares) == pytest.approx(UNKNOWN_SHARE, abs=0.03)


def test_validation_hides_no_label_and_shortens_no_encoder() -> None:
    split = split_of()
    server = split.skeleton.flat_categoricals.index("server_name")
    for x, _ in ValidationBatches(split.validation, split.validation.source.spread(50), batch_size=16):
        assert (x["decoder_cat"][..., server] > 0).all()
        assert (x["encoder_lengths"] == split.validation.longest).all()


def test_validation_gives_its_windows_in_order_each_time() -> None:
    split = split_of()
    places = split.validation.source.spread(7)
    batches = ValidationBatches(split.validation, places, batch_size=3)
    assert [len(x["groups"]) for x, _ in batches] == [3, 3, 1]
    assert len(batches) == 3
    whole, _ = split.validation.batch(places)
    for _ in range(2):
        assert torch.equal(torch.cat([x["decoder_time_idx"] for x, _ in batches]), whole["decoder_time_idx"])
