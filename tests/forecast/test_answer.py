from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec import UNSET, structs
from support.eager_answer import describe_servers
from support.fleet_state import ENVIRONMENT, SUMMARY
from support.forecasts import make_forecast
from support.random_fleets import fleets
from support.wire import forecast_of, read_fleet

from nordiq_watch.api.enums import NoForecast
from nordiq_watch.api.predictions import FleetForecast, FleetState, Metadata, answer_of
from nordiq_watch.forecast.answer import build_answer, explain_cold_fleet
from nordiq_watch.ingest.warmup import Requirement
from nordiq_watch.live.columns import FleetColumns, round_shown, slope_an_hour
from nordiq_watch.live.fleet_answer import Answer, Rendered, explain_no_model, mark_stale
from nordiq_watch.metrics import describe
from nordiq_watch.records.forecasts import Forecast
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot

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


def make_two_servers(values: Any = None) -> Forecast:
    """Two steps for ppdb001 and web1; web1's memory is not known."""
    if values is None:
        values = [
            [[[11, 12, 14], [13, 14.00004, 16]], [[55, 61, 62], [50, 58.5, 99]]],
            [[[19, 20, 21], [19, 20.5, 21]], [[NAN] * 3] * 2],
        ]
    return make_forecast(
        ("ppdb001", "web1"), np.array(values, dtype=np.float32), targets=TARGETS, origin_slot=LAST_SLOT, model=MODEL
    )


def make_answer() -> Answer:
    return build_answer(make_two_servers(), make_snapshot(), NEEDED, silent_seconds=900, at=AT)


def read(body: bytes | None) -> FleetForecast:
    assert body is not None
    return read_fleet(body, metrics=METRICS)


# --- the body ---


def test_the_body_is_the_contract_s() -> None:
    body = make_answer().body
    assert read(body).predictions.keys() == {"ppdb001", "web1"}
    assert json.loads(body) == {
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
                "model_version": "tft_model_20250130_143000",
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
                "model_version": "tft_model_20250130_143000",
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
    answer = build_answer(make_two_servers(), snapshot, NEEDED, silent_seconds=900, at=AT)
    described = read(answer.body).predictions["ppdb001"]
    cpu = forecast_of(described, "cpu_user_pct")
    assert (cpu.current, cpu.p50) == (None, [12.0, 14.0])
    assert described.display_metrics.cpu is UNSET
    assert described.display_metrics.memory is not UNSET


def ahead(answer: Answer) -> Rendered:
    """What is written when the answer is made."""
    rendered = replace(answer, render_ahead=answer.count).rendered
    assert rendered is not None
    return rendered


def test_what_is_written_ahead_is_what_is_written_when_it_is_asked_for() -> None:
    answer = make_answer()
    assert answer.rendered is None
    assert ahead(answer).body == answer.body
    assert gzip.decompress(ahead(answer).compressed) == answer.body
    few = replace(answer, render_ahead=1)
    assert few.rendered is None, "it has two servers"
    whole = replace(answer, render_ahead=2)
    for server in ("ppdb001", "web1", "cold"):
        assert whole.for_server(server) == answer.for_server(server)


def test_no_two_answers_have_the_same_tag() -> None:
    answer = make_answer()
    assert len({answer.etag, make_answer().etag, mark_stale(answer).etag}) == 3
    assert answer.etag.startswith(f'W/"{MODEL.name}.3-')
    assert answer.etag.endswith('"')


def test_a_tag_is_without_what_a_header_must_not_have() -> None:
    named = replace(make_answer(), model=replace(MODEL, name='tft_model_"ü,\n'))
    assert named.etag.startswith('W/"tft_model_____.3-')


def test_one_server_is_cut_from_the_same_answer() -> None:
    answer = make_answer()
    whole, alone = read(answer.body), read(answer.for_server("web1"))
    assert alone == structs.replace(whole, predictions={"web1": whole.predictions["web1"]})


def test_a_server_that_is_not_ready_is_told_apart_from_an_unknown_one() -> None:
    answer = make_answer()
    assert answer.for_server("nobody") is None
    told = read(answer.for_server("cold"))
    assert (told.error, told.predictions) == (NoForecast.INSUFFICIENT_DATA, {})
    assert told.message == "cold has 1 of 3 samples, 2 are still missing."


def test_stale_changes_that_one_word() -> None:
    answer = make_answer()
    stale = mark_stale(answer)
    assert stale.stale
    assert not answer.stale
    before, after = read(answer.body), read(stale.body)
    assert before.metadata is not UNSET
    assert before.metadata.stale is False
    assert after == structs.replace(before, metadata=structs.replace(before.metadata, stale=True))
    assert stale.etag != answer.etag
    assert gzip.decompress(ahead(stale).compressed) == stale.body
    assert (stale.model, stale.cold) == (answer.model, answer.cold)
    assert mark_stale(stale) is stale


def test_without_a_model_nothing_is_made_up() -> None:
    answer = explain_no_model()
    assert answer.message
    assert read(answer.body) == answer_of(METRICS)(error=NoForecast.NO_MODEL, message=answer.message, predictions={})
    assert answer.model is None
    assert answer.for_server("web1") is None
    assert mark_stale(answer) is answer


def test_a_cold_fleet_is_told_what_is_missing() -> None:
    few = Requirement(slots=6, samples=10, metrics=TARGETS)
    answer = explain_cold_fleet(make_snapshot(), few, model=MODEL)
    fleet = read(answer.body)
    assert (fleet.error, fleet.predictions) == (NoForecast.INSUFFICIENT_DATA, {})
    assert "has 6 of 10 samples, 4 are still missing" in str(fleet.message)
    assert fleet.metadata == Metadata(
        model_type="TFT",
        model_version=MODEL.name,
        model_generation=MODEL.generation,
        model_sha256=MODEL.sha256,
    )
    assert read(answer.for_server("cold")).message == "cold has 1 of 10 samples, 9 are still missing."


# --- the numbers ---


@given(arrays.arrays(np.float32, (2, 2, 3, 5), elements=st.floats(-50, 200, width=32, allow_nan=False)))
def test_quantiles_are_in_order_and_possible_and_otherwise_the_model_s(values: np.ndarray) -> None:
    targets, quantiles = ("cpu_user_pct", "load_average"), (0.05, 0.1, 0.5, 0.9, 0.95)
    forecast = make_forecast(("a", "b"), values, targets=targets, quantiles=quantiles, origin_slot=1)
    shown = round_shown(forecast.bands.swapaxes(-1, -2))
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


def test_small_numbers_are_written_as_short_as_they_are() -> None:
    assert b'"current":12.3457' in make_answer().body
    assert b'"p50":[61.0,58.5]' in make_answer().body


@given(fleets())
def test_the_bytes_are_those_of_the_answer_written_from_dictionaries(columns: FleetColumns) -> None:
    fleet = FleetState([], ENVIRONMENT, SUMMARY)
    metadata = make_answer().metadata
    answer = Answer(columns=columns, metadata=metadata, model=MODEL, fleet=fleet)
    rest = msgspec.to_builtins({**structs.asdict(fleet), "metadata": metadata})
    expected = {"predictions": describe_servers(columns), **rest}
    assert answer.body == orjson.dumps(expected, option=orjson.OPT_SERIALIZE_NUMPY)
    assert ahead(answer).body == answer.body
    for server in columns.servers[:2] + columns.servers[-2:]:
        alone = {"predictions": {server: expected["predictions"][server]}, "metadata": rest["metadata"]}
        assert answer.for_server(server) == orjson.dumps(alone, option=orjson.OPT_SERIALIZE_NUMPY)


def test_another_spelling_of_a_profile_is_shown_as_ours_and_stays_in_the_window() -> None:
    snapshot = replace(make_snapshot(), profiles=("database", "data_ingest", "Database"))
    answer = build_answer(make_two_servers(), snapshot, NEEDED, silent_seconds=900, at=AT)
    shown = read(answer.body).predictions
    assert (shown["ppdb001"].profile, shown["web1"].profile) == ("Database", "ETL/Ingest")
    assert snapshot.profiles[0] == "database"
