from __future__ import annotations

import numpy as np
import pytest
import torch
from support.network_forecasts import evaluate, forecast, quantiles_of
from support.small_fleet import TINY, fleet_of, series_of, silent_console, wavy

from nordiq_watch.training.batches import ValidationBatches
from nordiq_watch.training.evaluation import Evaluation, Score, to_table
from nordiq_watch.training.forecaster import Forecaster, build_forecaster
from nordiq_watch.training.timeseries import Split, split_by_time

SIX_HOURS = 21_600  # slots so long that a day of history is 4 slots


def make(values: list[np.ndarray]) -> tuple[Split, Forecaster]:
    data = fleet_of(*[series_of(each, server=f"s{number}") for number, each in enumerate(values)])
    split = split_by_time(data, config=TINY)
    torch.manual_seed(0)
    return split, build_forecaster(split, TINY, embedding_lengths={})


def test_a_forecast_is_in_the_metrics_units_with_its_quantiles_in_order() -> None:
    split, forecaster = make([wavy(80)])
    places = split.validation.source.spread(5)
    values = forecast(forecaster, ValidationBatches(split.validation, places, batch_size=2))
    assert values.shape == (5, TINY.max_prediction_length, 2, 7)
    assert (np.diff(values, axis=-1) >= 0).all()
    x, _ = split.validation.batch(places)
    with torch.no_grad():
        memory = forecaster(x)["prediction"][1].sort(dim=-1).values
    np.testing.assert_allclose(values[:, :, 1], memory.numpy(), rtol=1e-5)


def test_model_and_baselines_are_scored_on_the_same_windows() -> None:
    values = [wavy(80), wavy(90, seed=1)]
    split, forecaster = make(values)
    evaluation = evaluate(forecaster, split, interval_seconds=SIX_HOURS, batch_size=7)
    horizon = TINY.max_prediction_length
    origins = [
        (number, origin)
        for number, each in enumerate(values)
        for origin in range(split.cutoff_slot - split.origin_slot, len(each) - horizon + 1)
    ]
    assert evaluation.windows == len(origins)
    for metric, name in enumerate(("cpu_user_pct", "mem_used_pct")):
        last, day = [], []
        for number, origin in origins:
            column = values[number][:, metric].astype(np.float64)
            for step in range(horizon):
                last.append(abs(column[origin + step] - column[origin - 1]))
                day.append(abs(column[origin + step] - column[origin + step - 4]))
        scores = evaluation.scores[name]
        assert scores["last_value"].mae == pytest.approx(np.mean(last), rel=1e-6)
        assert scores["last_value"].pinball == pytest.approx(np.mean(last) / 2, rel=1e-6)
        assert scores["seasonal"].mae == pytest.approx(np.mean(day), rel=1e-6)


def evaluate_and_ask(values: list[np.ndarray]) -> tuple[Evaluation, list[torch.Tensor], list[torch.Tensor]]:
    """The evaluation, and of each target the network's own answer on all validation windows, and what came."""
    split, forecaster = make(values)
    x, (y, _) = split.validation.batch(split.validation.source.spread(2000))
    forecaster.eval()
    with torch.no_grad():
        prediction = forecaster(x)["prediction"]
    return evaluate(forecaster, split, interval_seconds=300, batch_size=64), prediction, y


def test_the_models_score_is_that_of_its_median() -> None:
    evaluation, prediction, y = evaluate_and_ask([wavy(80)])
    for target, name in enumerate(("cpu_user_pct", "mem_used_pct")):
        median = prediction[target].sort(dim=-1).values[..., 3]
        expected = float((median - y[target]).abs().mean())
        assert evaluation.scores[name]["model"].mae == pytest.approx(expected, rel=1e-5)


def test_the_models_coverage_is_the_share_from_its_p10_to_its_p90() -> None:
    evaluation, prediction, y = evaluate_and_ask([wavy(80)])
    for target, name in enumerate(("cpu_user_pct", "mem_used_pct")):
        ordered = prediction[target].sort(dim=-1).values
        inside = (ordered[..., 1] <= y[target]) & (y[target] <= ordered[..., 5])
        assert evaluation.scores[name]["model"].coverage == pytest.approx(float(inside.float().mean()), abs=1e-6)
        assert evaluation.scores[name]["last_value"].coverage is None


def test_what_a_server_does_not_measure_does_not_count() -> None:
    lacking = wavy(80, seed=1)
    lacking[:, 1] = np.nan
    split, forecaster = make([wavy(80), lacking])
    both = evaluate(forecaster, split, interval_seconds=SIX_HOURS, batch_size=64)
    alone, _ = make([wavy(80)])
    one = evaluate(forecaster, alone, interval_seconds=SIX_HOURS, batch_size=64)
    assert both.windows == 2 * one.windows
    assert both.scores["mem_used_pct"]["last_value"] == one.scores["mem_used_pct"]["last_value"]


def test_without_a_day_of_history_there_is_no_seasonal_score() -> None:
    split, forecaster = make([wavy(80)])
    evaluation = evaluate(forecaster, split, interval_seconds=300, batch_size=64)
    assert evaluation.scores["cpu_user_pct"]["seasonal"] == Score(mae=None, pinball=None)
    assert evaluation.scores["cpu_user_pct"]["last_value"].mae is not None


def test_quantiles_are_those_of_the_loss() -> None:
    _, several = make([wavy(80)])
    _, single = make([wavy(80, metrics=1)])
    assert quantiles_of(several) == quantiles_of(single) == [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98]


EVALUATION = Evaluation(
    windows=1234,
    scores={
        "cpu_user_pct": {
            "model": Score(0.75, 0.25, 0.81),
            "last_value": Score(1.0, 0.5),
            "seasonal": Score(None, None),
        }
    },
)


def test_the_json_is_that_of_training_info() -> None:
    assert EVALUATION.to_json() == {
        "windows": 1234,
        "metrics": {
            "cpu_user_pct": {
                "model": {"mae": 0.75, "pinball": 0.25, "coverage": 0.81},
                "last_value": {"mae": 1.0, "pinball": 0.5},
                "seasonal": {"mae": None, "pinball": None},
            }
        },
    }


def test_the_table_says_how_much_better_the_model_is() -> None:
    console, text = silent_console()
    console.print(to_table(EVALUATION))
    line = next(line for line in text.getvalue().splitlines() if "cpu_user_pct" in line)
    assert line.split() == ["cpu_user_pct", "0.75", "/", "0.25", "1", "/", "0.5", "–", "-25.0", "%", "81%"]
    assert "1,234 validation windows" in text.getvalue()
