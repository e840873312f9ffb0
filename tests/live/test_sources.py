"""Who answers for which server, in a forecast of the live model and in one that others answer for too."""

from __future__ import annotations

import numpy as np
from support.forecasts import MODEL, make_forecast

from nordiq_watch.live.sources import BASELINE, join, made_by_model, sources_of
from nordiq_watch.records.forecasts import Forecast, Forecasting
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
