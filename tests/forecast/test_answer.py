from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nordiq_watch.forecast.answer import (
    Answer,
    arrange_quantiles,
    build_answer,
    explain_cold_fleet,
    explain_no_model,
    last_measured,
    mark_stale,
    slope_an_hour,
)
from nordiq_watch.forecast.warmup import Requirement
from nordiq_watch.metrics import describe
from nordiq_watch.records import Forecast, ModelIdentity, WindowSnapshot

MODEL = ModelIdentity("tft_model_20250130_143000", 3, "ab" * 32)
METRICS = ("cpu_user_pct", "mem_used_pct", "load_average", "swap_used_pct")
TARGETS = ("cpu_user_pct", "mem_used_pct")
LAST_SLOT = 5_790_359  # the slot that ends at 2025-01-17T10:00:00Z
AT = 1_737_108_005.0  # 2025-01-17T10:00:05Z
NEEDED = Requirement(slots=6, samples=3, metrics=TARGETS)
NAN = float("nan")


def make_snapshot(servers: tuple[str, ...] = ("ppdb001", "web1", "cold")) -> WindowSnapshot:
    """Six slots. ppdb001 measures all but swap; web1 measured its memory never and its load too long ago."""
    values = np.full((3, 6, 4), np.nan, dtype=np.float32)
    values[0] = [[10, 50, 1.5, NAN]] * 5 + [[12.3456789, 60, NAN, NAN]]
    values[1, :, 0] = 20
    values[1, 0, 2] = 9
    values[2, -1, 0] = 5
    return WindowSnapshot(
        servers=servers,
        profiles=("Database", "Generic", "Generic"),
        metrics=METRICS,
        interval_seconds=300,
        last_slot=LAST_SLOT,
        values=values,
        statuses=np.zeros((3, 6), dtype=np.uint8),
    )


def make_forecast(values: Any = None) -> Forecast:
    """Two steps for ppdb001 and web1; web1's memory is not known."""
    if values is None:
        values = [
            [[[11, 12, 14], [13, 14.00004, 16]], [[55, 61, 62], [50, 58.5, 99]]],
            [[[19, 20, 21], [19, 20.5, 21]], [[NAN] * 3] * 2],
        ]
    return Forecast(
        servers=("ppdb001", "web1"),
        targets=TARGETS,
        quantiles=(0.1, 0.5, 0.9),
        values=np.array(values, dtype=np.float32),
        origin_slot=LAST_SLOT,
        interval_seconds=300,
        model=MODEL,
    )


def make_answer() -> Answer:
    return build_answer(make_forecast(), make_snapshot(), NEEDED, silent_seconds=900, at=AT)


# --- the body ---


def test_the_body_is_the_contract_s() -> None:
    assert json.loads(make_answer().body) == {
        "predictions": {
            "ppdb001": {
                "cpu_user_pct": {
                    "current": 12.3457,
                    "p10": [11.0, 13.0],
                    "p50": [12.0, 14.0],
                    "p90": [14.0, 16.0],
                    "trend": 24.0,
                },
                "mem_used_pct": {
                    "current": 60.0,
                    "p10": [55.0, 50.0],
                    "p50": [61.0, 58.5],
                    "p90": [62.0, 99.0],
                    "trend": -30.0,
                },
                "load_average": {"current": 1.5},
                "display_metrics": {
                    "cpu": {"current": 12.3457, "predicted": 14.0, "delta": 1.6543, "unit": "%", "trend": "rising"},
                    "memory": {"current": 60.0, "predicted": 58.5, "delta": -1.5, "unit": "%", "trend": "falling"},
                },
                "profile": "Database",
            },
            "web1": {
                "cpu_user_pct": {
                    "current": 20.0,
                    "p10": [19.0, 19.0],
                    "p50": [20.0, 20.5],
                    "p90": [21.0, 21.0],
                    "trend": 6.0,
                },
                "display_metrics": {
                    "cpu": {"current": 20.0, "predicted": 20.5, "delta": 0.5, "unit": "%", "trend": "steady"},
                },
                "profile": "Generic",
            },
        },
        "metadata": {
            "model_type": "TFT",
            "model_version": "tft_model_20250130_143000",
            "model_generation": 3,
            "model_sha256": "ab" * 32,
            "prediction_time": "2025-01-17T10:00:00+00:00",
            "horizon_start": "2025-01-17T10:00:00+00:00",
            "horizon_steps": 2,
            "interval_seconds": 300,
            "stale": False,
        },
    }


def test_a_forecast_without_a_recent_measurement_has_no_current() -> None:
    snapshot = make_snapshot()
    snapshot.values[0, -4:, 0] = np.nan
    answer = build_answer(make_forecast(), snapshot, NEEDED, silent_seconds=900, at=AT)
    described = json.loads(answer.body)["predictions"]["ppdb001"]
    assert described["cpu_user_pct"]["current"] is None
    assert described["cpu_user_pct"]["p50"] == [12.0, 14.0]
    assert list(described["display_metrics"]) == ["memory"]


def test_gzip_and_etag_belong_to_the_body() -> None:
    answer, same = make_answer(), make_answer()
    assert gzip.decompress(answer.compressed) == answer.body
    assert answer.etag == same.etag and answer.compressed == same.compressed
    later = build_answer(make_forecast(), make_snapshot(), NEEDED, silent_seconds=900, at=AT + 1)
    assert later.etag == answer.etag, "what was computed again from the same data is the same answer"
    earlier = build_answer(make_forecast(), make_snapshot(), NEEDED, silent_seconds=900, at=AT - 60)
    assert earlier.etag != answer.etag
    assert answer.etag.startswith('W/"') and answer.etag.endswith('"')


def test_one_server_is_cut_from_the_same_answer() -> None:
    answer = make_answer()
    whole, body = json.loads(answer.body), answer.for_server("web1")
    assert body is not None
    assert json.loads(body) == {"predictions": {"web1": whole["predictions"]["web1"]}, "metadata": whole["metadata"]}


def test_a_server_that_is_not_ready_is_told_apart_from_an_unknown_one() -> None:
    answer = make_answer()
    assert answer.for_server("nobody") is None
    body = answer.for_server("cold")
    assert body is not None
    told = json.loads(body)
    assert (told["error"], told["predictions"]) == ("insufficient_data", {})
    assert told["message"] == "cold has 1 of 3 samples, 2 are still missing."


def test_stale_changes_that_one_word() -> None:
    answer = make_answer()
    stale = mark_stale(answer)
    assert stale.stale and not answer.stale
    before, after = json.loads(answer.body), json.loads(stale.body)
    assert after["metadata"].pop("stale") is True and before["metadata"].pop("stale") is False
    assert before == after
    assert stale.etag != answer.etag and gzip.decompress(stale.compressed) == stale.body
    assert (stale.model, stale.cold) == (answer.model, answer.cold)
    assert mark_stale(stale) is stale


def test_without_a_model_nothing_is_made_up() -> None:
    answer = explain_no_model()
    body = json.loads(answer.body)
    assert set(body) == {"error", "message", "predictions"}
    assert (body["error"], body["predictions"]) == ("no_model", {})
    assert answer.model is None and answer.for_server("web1") is None
    assert mark_stale(answer) is answer


def test_a_cold_fleet_is_told_what_is_missing() -> None:
    few = Requirement(slots=6, samples=10, metrics=TARGETS)
    answer = explain_cold_fleet(make_snapshot(), few, model=MODEL)
    body = json.loads(answer.body)
    assert (body["error"], body["predictions"]) == ("insufficient_data", {})
    assert "has 6 of 10 samples, 4 are still missing" in body["message"]
    assert (body["metadata"]["model_type"], body["metadata"]["model_version"]) == ("TFT", MODEL.name)
    assert json.loads(answer.for_server("cold") or b"")["message"] == "cold has 1 of 10 samples, 9 are still missing."


# --- the numbers ---


@given(arrays.arrays(np.float32, (2, 2, 3, 5), elements=st.floats(-50, 200, width=32, allow_nan=False)))
def test_quantiles_are_in_order_and_possible_and_otherwise_the_model_s(values: np.ndarray) -> None:
    forecast = Forecast(
        servers=("a", "b"),
        targets=("cpu_user_pct", "load_average"),
        quantiles=(0.05, 0.1, 0.5, 0.9, 0.95),
        values=values,
        origin_slot=1,
        interval_seconds=300,
        model=MODEL,
    )
    shown = arrange_quantiles(forecast)
    assert shown.shape == (2, 2, 3, 3)
    for index in np.ndindex(2, 2, 3):
        server, target, step = index
        metric = describe(forecast.targets[target])
        expected = np.clip(sorted(values[index])[1:4], metric.low, metric.high)
        np.testing.assert_allclose(shown[server, target, :, step], expected, atol=1e-4)
        assert (np.diff(shown[server, target, :, step]) >= 0).all()


@given(arrays.arrays(np.float32, 7, elements=st.floats(0, 100, width=32)), st.sampled_from([60, 300, 3600]))
def test_the_slope_is_the_least_squares_one(values: np.ndarray, interval_seconds: int) -> None:
    hours = np.arange(7) * interval_seconds / 3600
    expected = np.polyfit(hours, values.astype(np.float64), 1)[0]
    assert slope_an_hour(values[None], interval_seconds=interval_seconds)[0] == pytest.approx(expected, abs=1e-3)


def test_one_step_has_no_slope() -> None:
    assert np.isnan(slope_an_hour(np.ones((2, 1), dtype=np.float32), interval_seconds=300)).all()


def test_the_last_measured_value_is_found() -> None:
    values = np.array([[[1, NAN], [2, NAN], [NAN, NAN]], [[NAN, 3], [NAN, 4], [5, 6]]], dtype=np.float32)
    np.testing.assert_array_equal(last_measured(values), [[2, NAN], [5, 6]])


def test_small_numbers_are_written_as_short_as_they_are() -> None:
    assert b'"current":12.3457' in make_answer().body
    assert b'"p50":[61.0,58.5]' in make_answer().body


def test_servers_written_one_by_one_are_the_same_bytes_as_written_at_once() -> None:
    names = ('with "quotes" and \\', "grün-\U0001f600", "line\nbreak")
    fleet = {"alerts": [], "summary": {"total_servers": 3}}
    metadata = {"stale": False}
    for count in range(len(names) + 1):
        predictions: dict[str, Any] = {
            name: {"cpu_user_pct": {"p50": np.float32([1.5, NAN])}} for name in names[:count]
        }
        answer = Answer(predictions=predictions, metadata=metadata, model=MODEL, fleet=fleet)
        at_once = {"predictions": predictions, **fleet, "metadata": metadata}
        assert answer.body == orjson.dumps(at_once, option=orjson.OPT_SERIALIZE_NUMPY)
