"""A model with extras forecasts the library's own `predict` plus the stated term, in float32's precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from support.extras import random_extras, state_forecast, with_extras
from support.network_cases import CASES, Case
from support.networks import parse_weights, raw_tensors

from nordiq_watch.network.forward import Way
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.records.arrays import DoubleArray
from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

ABSOLUTE = 1e-4
"""In the metrics' units, as for the network alone (tests/network/test_predictor.py)."""
CHOSEN = ("last value, three targets", "more metrics than targets", "fixed", "whole encoders")
EXTRAS: dict[str, dict[str, Any]] = {
    "linear and calibration": {},
    "linear on few slots": {"slots": 5, "calibrated": False},
    "rows and calibration": {"members": ("rows",)},
    "linear and rows on few slots": {"members": ("linear", "rows"), "slots": 5, "calibrated": False},
    "calibration alone": {"members": ()},
}


def stated_for(case: Case, spec: ModelSpec, tensors: Any, network: Any) -> dict[str, DoubleArray]:
    """Server → the documented forecast from this output of the library's network."""
    fleet, columns = case.fleet, [case.fleet.metrics.index(metric) for metric in spec.metrics]
    past = [fleet.values[row, begin:][:, columns] for row, begin in enumerate(fleet.begins)]
    library = np.stack([network[server] for server in fleet.servers])
    return dict(
        zip(fleet.servers, state_forecast(spec, tensors, library, past, last_slot=fleet.last_slot), strict=True)
    )


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize("prefer", get_args(Way))
def test_the_forecast_is_the_library_s_plus_the_stated_term(name: str, extras: str, prefer: Way) -> None:
    case = CASES[name]
    spec = with_extras(case.spec, **EXTRAS[extras])
    tensors, snapshot = random_extras(spec), case.fleet.window()
    predictor = Predictor(spec, parse_weights(case.files[1]), device="cpu", extras=raw_tensors(tensors), prefer=prefer)
    prediction = predictor.predict(snapshot)
    assert [snapshot.servers[row] for row in prediction.rows] == list(case.fleet.servers)
    stated = stated_for(case, spec, tensors, case.library)
    exact = stated_for(case, spec, tensors, case.exact)
    for row, server in enumerate(case.fleet.servers):
        rounding = max(ABSOLUTE, 2 * float(np.abs(case.library[server] - case.exact[server]).max()))
        assert np.abs(prediction.values[row] - stated[server]).max() <= rounding
        assert np.abs(prediction.values[row] - exact[server]).max() <= rounding
        assert np.abs(prediction.values[row] - case.library[server]).max() > 100 * ABSOLUTE


def test_a_gap_is_filled_as_for_the_network() -> None:
    """The last value before it, or the first one after it, stands in the members' window as in the network's."""
    case = CASES["last value, three targets"]
    spec = with_extras(case.spec)
    predictor = Predictor(spec, parse_weights(case.files[1]), device="cpu", extras=raw_tensors(random_extras(spec)))
    holed, filled = case.fleet.window(), case.fleet.window()
    holed.values[0, 5:9, 1] = np.nan
    filled.values[0, 5:9, 1] = filled.values[0, 4, 1]
    np.testing.assert_array_equal(predictor.predict(holed).values, predictor.predict(filled).values)
    assert np.isfinite(predictor.predict(replace(holed, last_slot=holed.last_slot + 1)).values).all()
