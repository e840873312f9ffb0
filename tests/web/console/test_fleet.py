"""The fleet in bytes: what is drawn is what was measured and forecast."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from support.columns import make_columns
from support.forecasts import make_forecast
from support.web_world import make_answer

from nordiq_watch.alerting.thresholds import ThresholdTable
from nordiq_watch.api.console import FleetView
from nordiq_watch.api.enums import Level
from nordiq_watch.api.servers import Maintenance
from nordiq_watch.config.schema import Config
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.web.console.fleet import NOT_KNOWN, average, bucket_edges, code_labels, describe_fleet, pack

METRICS = ("cpu_user_pct", "net_in_mb_s")
SERVERS = ("a", "b", "c")
SLOTS, STEPS, LAST_SLOT = 72, 24, 1000
IN_MAINTENANCE = Maintenance("status", None, "its newest record says so", None)


def unpack(text: str, columns: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(-1, columns)


@pytest.fixture
def made() -> Forecasting:
    """Server b sends but is not forecast; a has its CPU at 98 and c at 10, c's traffic was never measured."""
    values = np.zeros((3, SLOTS, 2), dtype=np.float32)
    values[0, :, 0], values[2, :, 0] = 98.0, 10.0
    values[:, :, 1] = 4.0
    values[2, :, 1] = np.nan
    ahead = np.zeros((2, 2, STEPS, 3), dtype=np.float32)
    ahead[0, 0], ahead[1, 0], ahead[0, 1] = 50.0, 98.0, 8.0
    ahead[1, 1] = np.nan
    snapshot = WindowSnapshot(
        SERVERS,
        ("Web API", "Generic", "Database"),
        METRICS,
        300,
        LAST_SLOT,
        values,
        np.zeros((3, SLOTS), dtype=np.uint8),
    )
    forecast = make_forecast(("a", "c"), ahead, rows=(0, 2), targets=METRICS, origin_slot=LAST_SLOT)
    return Forecasting(snapshot, forecast)


def describe(made: Forecasting) -> FleetView:
    table = ThresholdTable(Config().risk, METRICS)
    columns = make_columns(("a", "c"), scores=(91.0, float("nan")))
    return describe_fleet(made, make_answer(columns=columns, cold={"b": "b is cold"}), table, {"b": IN_MAINTENANCE})


def test_labels_are_sent_once_for_all_servers_that_have_them() -> None:
    web = {"team": "web", "env": "prod"}
    sets, codes = code_labels([web, {}, {"env": "prod", "team": "web"}, {"team": "db"}])
    assert sets == [web, {}, {"team": "db"}]
    assert codes == [0, 1, 0, 2]


def test_only_forecast_servers_are_drawn_with_what_the_answer_says_of_them(made: Forecasting) -> None:
    fleet = describe(made)
    assert (fleet.servers, fleet.cold, fleet.alerts) == (("a", "c"), 1, [])
    assert fleet.profiles == ["Web API", "Database"]
    assert fleet.maintenance == {"b": IN_MAINTENANCE}, "forecast or not"
    assert (fleet.risks, fleet.levels) == ([91.0, None], [Level.CRITICAL, None])


def test_time_goes_from_the_window_s_begin_to_the_horizon_s_end(made: Forecasting) -> None:
    fleet = describe(made)
    assert fleet.past[0] == (LAST_SLOT - SLOTS + 1) * 300
    assert fleet.past[-1] == (LAST_SLOT - 1) * 300
    assert fleet.future[0] == (LAST_SLOT + 1) * 300


def test_values_come_back_from_their_bytes(made: Forecasting) -> None:
    _, cpu, net = describe(made).metrics
    assert (cpu.name, cpu.scale, net.scale) == ("cpu_user_pct", 100.0, 8.0)
    np.testing.assert_allclose(unpack(cpu.past, 36) / 250 * 100, [[98.0] * 36, [10.0] * 36], atol=0.2)
    np.testing.assert_allclose(unpack(cpu.future, 12) / 250 * 100, [[50.0] * 12, [98.0] * 12], atol=0.2)
    assert (unpack(net.past, 36)[1] == NOT_KNOWN).all()
    assert (unpack(net.future, 12)[0] == 250).all()


def test_risk_comes_first_and_follows_the_thresholds(made: Forecasting) -> None:
    risk = describe(made).metrics[0]
    past, future = unpack(risk.past, 36), unpack(risk.future, 12)
    assert (risk.name, risk.scale) == ("risk", 100.0)
    assert past[0].min() >= 0.8 * 250  # beyond critical
    assert past[1].max() == 0
    assert future[0].max() == 0
    assert future[1].min() >= 0.8 * 250


@pytest.mark.parametrize("length", [1, 5, 36, 37, 288])
def test_buckets_are_even_and_cover_all(length: int) -> None:
    edges = bucket_edges(length, 36)
    sizes = np.diff([*edges, length])
    assert edges[0] == 0
    assert len(edges) == min(length, 36)
    assert sizes.max() - sizes.min() <= 1


def test_a_bucket_is_the_mean_of_what_is_known() -> None:
    values = np.array([[1.0, 3.0, np.nan, 5.0, np.nan, np.nan]])
    np.testing.assert_array_equal(average(values, np.array([0, 2, 4])), [[2.0, 5.0, np.nan]])


def test_what_is_out_of_scale_is_at_its_end() -> None:
    assert list(base64.b64decode(pack(np.array([[-1.0, 0.0, 50.0, 200.0, np.nan]]), 100.0))) == [0, 0, 125, 250, 255]
