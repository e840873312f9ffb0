"""What was forecast before: kept at a distance, and only for a while."""

from __future__ import annotations

import numpy as np
import pytest
from support.forecasts import make_forecast

from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.models import ModelIdentity
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.web.console.past_forecasts import KEPT, PastForecasts

HORIZON = 8


class Newest:
    """Stands for the forecaster: what it published last."""

    made: Forecasting | None = None

    def publish(self, origin_slot: int, *, servers: tuple[str, ...] = ("a",), level: float = 1.0) -> None:
        values = np.full((len(servers), 1, HORIZON, 3), level, dtype=np.float32) * [3.0, 1.0, 2.0]
        forecast = make_forecast(
            servers,
            values.astype(np.float32),
            targets=("cpu_user_pct",),
            origin_slot=origin_slot,
            model=ModelIdentity("v", 1, "ab"),
        )
        empty = np.empty((0, 1, 1), dtype=np.float32)
        snapshot = WindowSnapshot((), (), ("cpu_user_pct",), 300, origin_slot, empty, np.empty((0, 1), dtype=np.uint8))
        self.made = Forecasting(snapshot, forecast)


@pytest.fixture
def newest() -> Newest:
    return Newest()


@pytest.fixture
def trail(newest: Newest) -> PastForecasts:
    return PastForecasts(lambda: newest.made)


def origins(trail: PastForecasts, before: int = 10_000) -> list[int]:
    return [footprint.origin_slot for footprint in trail.before(before)]


def test_one_in_a_quarter_of_a_horizon_is_kept(trail: PastForecasts, newest: Newest) -> None:
    for slot in range(100, 107):
        newest.publish(slot)
        trail.note()
    assert origins(trail) == [100, 102, 104, 106]


def test_the_oldest_go(trail: PastForecasts, newest: Newest) -> None:
    for slot in range(100, 130):
        newest.publish(slot)
        trail.note()
    assert len(origins(trail)) == KEPT
    assert origins(trail)[-1] == 128


def test_only_those_before_a_slot_are_shown(trail: PastForecasts, newest: Newest) -> None:
    for slot in (100, 102, 104):
        newest.publish(slot)
        trail.note()
    assert origins(trail, before=104) == [100, 102]


def test_quantiles_are_in_order(trail: PastForecasts, newest: Newest) -> None:
    newest.publish(100)
    trail.note()
    (footprint,) = trail.before(200)
    assert footprint.values[0, 0, :, 0].tolist() == [1.0, 2.0, 3.0]


def test_nothing_is_kept_of_nothing(trail: PastForecasts, newest: Newest) -> None:
    trail.note()
    newest.publish(100, servers=())
    trail.note()
    assert origins(trail) == []


def test_a_value_beyond_half_precision_stays_finite(trail: PastForecasts, newest: Newest) -> None:
    newest.publish(100, level=1e6)
    trail.note()
    assert np.isfinite(trail.before(200)[0].values).all()


def test_of_a_large_fleet_the_same_servers_are_kept_each_time(newest: Newest) -> None:
    trail = PastForecasts(lambda: newest.made, most_servers=3)
    names = tuple(f"server-{number}" for number in range(20))
    for slot, servers in ((100, names), (102, names[::-1])):
        newest.publish(slot, servers=servers, level=2.0)
        trail.note()
    first, second = trail.before(200)
    assert len(first.servers) == len(first.values) == 3
    assert first.servers.keys() == second.servers.keys()
    assert first.values[:, 0, 1].tolist() == [[4.0] * HORIZON] * 3


def test_each_kept_server_has_its_own_numbers(newest: Newest) -> None:
    trail = PastForecasts(lambda: newest.made, most_servers=3)
    names = tuple(f"server-{number}" for number in range(20))
    newest.publish(100, servers=names)
    assert newest.made is not None
    newest.made.forecast.bands[:] = np.arange(20, dtype=np.float32)[:, None, None, None]
    trail.note()
    (footprint,) = trail.before(200)
    assert {name: footprint.values[row, 0, 0, 0] for name, row in footprint.servers.items()} == {
        name: float(names.index(name)) for name in footprint.servers
    }
