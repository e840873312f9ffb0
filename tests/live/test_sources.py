"""Who answers for which server, in a forecast of the live model and in one that others answer for too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.forecasts import MODEL, make_forecast

from nordiq_watch.live.sources import (
    BASELINE,
    STARTER,
    answering_for,
    join,
    made_by_each,
    made_by_model,
    sources_of,
)
from nordiq_watch.records.forecasts import Forecast, Forecasting, Sources
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot

TARGETS = ("cpu_user_pct",)


def constant(server: str, value: float, *, row: int, model: ModelIdentity = MODEL) -> Forecast:
    values = np.full((1, 1, 2, 3), value, dtype=np.float32)
    return make_forecast([server], values, targets=TARGETS, origin_slot=100, rows=[row], model=model)


def test_a_model_alone_answers_for_all_of_its_servers() -> None:
    sources = sources_of(constant("ppdb001", 10.0, row=0))
    assert ([maker.name for maker in sources.makers], sources.codes.tolist()) == ([MODEL.name], [0])


def test_a_forecast_of_both_says_for_each_server_who_answers() -> None:
    model, baseline = constant("ppdb001", 10.0, row=1), constant("ppdb002", 20.0, row=0, model=_baseline())
    both = join(model, baseline)
    assert (both.servers, both.rows.tolist(), both.model) == (("ppdb001", "ppdb002"), [1, 0], MODEL)
    sources = sources_of(both)
    assert [sources.makers[code].name for code in sources.codes] == [MODEL.name, BASELINE]
    assert both.bands[:, 0, 0, 1].tolist() == [10.0, 20.0]


def test_what_the_model_made_is_found_again() -> None:
    model, baseline = constant("ppdb001", 10.0, row=1), constant("ppdb002", 20.0, row=0, model=_baseline())
    made = Forecasting(_snapshot(), join(model, baseline))
    own = made_by_model(made)
    assert (own.forecast.servers, own.forecast.sources) == (("ppdb001",), None)
    assert np.shares_memory(own.forecast.values, made.forecast.values)


def built_in_of(by_metric: list[list[int]]) -> Forecast:
    """Of two servers and two metrics, by the baseline (0) and the starter (1); each number says its place."""
    values = np.arange(2 * 2 * 2 * 3, dtype=np.float32).reshape(2, 2, 2, 3)
    made = make_forecast(["a", "b"], values, targets=("cpu_user_pct", "mem_used_pct"), origin_slot=100, rows=[0, 1])
    codes = np.array(by_metric)
    makers = (_baseline(), ModelIdentity(STARTER, 0, ""))
    return replace(made, model=_baseline(), sources=Sources(makers, codes.max(axis=1), codes))


def test_of_two_built_in_makers_each_has_its_own_metrics_in_the_books() -> None:
    made = Forecasting(_snapshot(), built_in_of([[0, 1], [0, 0]]))
    of_baseline, of_starter = (part.forecast for part in made_by_each(made))
    assert (of_baseline.model.name, of_starter.model.name) == (BASELINE, STARTER)
    assert (of_baseline.servers, of_starter.servers) == (("a", "b"), ("a",))
    assert np.isnan(of_baseline.bands).all(axis=(2, 3)).tolist() == [[False, True], [False, False]]
    assert np.isnan(of_starter.bands).all(axis=(2, 3)).tolist() == [[True, False]]
    np.testing.assert_array_equal(of_starter.bands[0, 1], made.forecast.bands[0, 1])


def test_a_forecast_of_one_maker_is_its_own() -> None:
    made = Forecasting(_snapshot(), constant("ppdb001", 10.0, row=0))
    assert made_by_each(made) == [made]


def test_the_answer_is_named_by_whom_most_servers_are_answered_for_while_no_model_is() -> None:
    assert answering_for(built_in_of([[0, 1], [0, 0]])).name == BASELINE
    assert answering_for(built_in_of([[0, 1], [1, 0]])).name == STARTER
    assert answering_for(join(constant("c", 1.0, row=1), constant("d", 1.0, row=0, model=_baseline()))) == MODEL


def _baseline() -> ModelIdentity:
    return ModelIdentity(BASELINE, 0, "")


def _snapshot() -> WindowSnapshot:
    return WindowSnapshot(
        servers=("ppdb002", "ppdb001"),
        profiles=("Database", "Database"),
        metrics=TARGETS,
        interval_seconds=300,
        last_slot=100,
        values=np.zeros((2, 4, 1), dtype=np.float32),
        statuses=np.zeros((2, 4), dtype=np.uint8),
    )
