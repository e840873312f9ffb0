from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from support.small_fleet import TINY, fleet_of, series_of, wavy
from torch import nn

from nordiq_watch.errors import ConfigError
from nordiq_watch.training.forecaster import as_list, build_forecaster, start_at_last_value
from nordiq_watch.training.timeseries import Split, split_by_time


def split_of(values: object, **more: Any) -> Split:
    return split_by_time(fleet_of(series_of(values)), config=TINY, **more)


def test_sizes_come_from_the_settings() -> None:
    hparams = build_forecaster(split_of(wavy(60)), TINY, embedding_lengths={}).hparams
    assert (hparams.hidden_size, hparams.hidden_continuous_size, hparams.attention_head_size) == (8, 4, 2)
    assert hparams.max_encoder_length == TINY.max_encoder_length


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_dropout_is_the_settings(share: float) -> None:
    config = replace(TINY, dropout=share)
    forecaster = build_forecaster(split_of(wavy(60)), config, embedding_lengths={})
    shares = {module.p for module in forecaster.modules() if isinstance(module, nn.Dropout)}
    assert shares == {share}


def test_a_metric_in_large_units_weighs_no_more_than_one_in_small_units() -> None:
    values = wavy(60)
    values[:, 1] = values[:, 0] * 1000
    split = split_of(values)
    torch.manual_seed(0)
    forecaster = build_forecaster(split, TINY, embedding_lengths={}).eval()
    x, y = split.training.batch(split.training.source.spread(20))
    with torch.no_grad():
        prediction = forecaster(x)["prediction"]
    same = [prediction[0], prediction[0] * 1000]
    losses = [
        float(metric(same[i], (y[0][i], None))) * forecaster.loss.weights[i]
        for i, metric in enumerate(forecaster.loss.metrics)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_one_target_has_a_plain_quantile_loss() -> None:
    split = split_of(wavy(60, metrics=1))
    forecaster = build_forecaster(split, TINY, embedding_lengths={})
    x, _ = split.training.batch(split.training.source.spread(3))
    assert forecaster(x)["prediction"].shape == (3, TINY.max_prediction_length, 7)


def test_the_unknown_class_is_no_padding() -> None:
    forecaster = build_forecaster(split_of(wavy(60), per_server=True), TINY, embedding_lengths={})
    for embedding in forecaster.input_embeddings.values():
        assert embedding.padding_idx is None


def test_given_lengths_of_embeddings_are_used() -> None:
    forecaster = build_forecaster(split_of(wavy(60), per_server=True), TINY, embedding_lengths={"server_name": 5})
    lengths = {name: embedding.embedding_dim for name, embedding in forecaster.input_embeddings.items()}
    assert lengths["server_name"] == 5


@pytest.mark.parametrize("metrics", [1, 2])
def test_it_starts_as_the_last_value_with_the_quantiles_of_what_really_came(metrics: int) -> None:
    split = split_of(wavy(400, metrics=metrics))
    windows = split.training
    forecaster = build_forecaster(split, TINY, embedding_lengths={}).eval()
    start_at_last_value(forecaster, windows)
    x, (truth, _) = windows.batch(windows.source.spread(len(windows)))
    with torch.no_grad():
        prediction = as_list(forecaster(x)["prediction"])
    for target, values in enumerate(as_list(truth)):
        history = as_list(x["encoder_target"])[target]
        last = history.gather(1, x["encoder_lengths"][:, None] - 1)
        distance = (prediction[target][..., 3] - last).abs()
        assert float(distance.mean()) < 0.3 * float(history.std(dim=1).mean())
        below = (values[..., None] < prediction[target]).float().mean(dim=(0, 1))
        torch.testing.assert_close(below, torch.tensor([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98]), rtol=0, atol=0.03)


def test_a_metric_that_never_changes_starts_as_it_is() -> None:
    split = split_of(np.full((60, 1), 42.0))
    forecaster = build_forecaster(split, TINY, embedding_lengths={}).eval()
    start_at_last_value(forecaster, split.training)
    x, _ = split.validation.batch(split.validation.source.spread(1))
    with torch.no_grad():
        assert forecaster(x)["prediction"].unique().tolist() == pytest.approx([42.0])


def test_more_heads_than_hidden_size_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.attention_heads is 16, but training.hidden_size only 8"):
        build_forecaster(split_of(wavy(60)), replace(TINY, attention_heads=16), embedding_lengths={})
