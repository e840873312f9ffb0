from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.models import ENCODER, HORIZON, drop_model, tiny_spec
from support.networks import network_spec, servable_of, snapshot_of
from support.small_fleet import FIRST_SLOT, fleet_of, series_of, wavy

from nordiq_watch.evaluation import rolling
from nordiq_watch.evaluation.recorded_fleet import RecordedFleet
from nordiq_watch.evaluation.rolling import forecast_at, portions, rolling_forecasts
from nordiq_watch.reload.named_version import load_version, version_at


def fleet_of_waves(servers: int = 3, slots: int = 60) -> RecordedFleet:
    return RecordedFleet(fleet_of(*[series_of(wavy(slots, seed=seed), server=f"s{seed}") for seed in range(servers)]))


def test_a_forecast_is_the_one_that_the_daemon_would_have_served() -> None:
    model = servable_of(network_spec())
    fleet = fleet_of_waves()
    origin = FIRST_SLOT + 40
    snapshot = snapshot_of(
        np.stack([wavy(60, seed=seed)[:40] for seed in range(3)]),
        servers=fleet.servers,
        profiles=fleet.profiles,
        last_slot=origin - 1,
    )
    served = model.forecast(snapshot).bands
    np.testing.assert_array_equal(forecast_at(model, fleet, origin, servers=range(3)), served)


def test_each_origin_and_each_server_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model's p50 is the last value before the origin."""
    monkeypatch.setattr(rolling, "SERVERS_AT_ONCE", 2)
    model = load_version(version_at(drop_model(tmp_path, "tft_model_20250130_143000")))
    fleet, origins = fleet_of_waves(), [FIRST_SLOT + 20, FIRST_SLOT + 33]
    values = rolling_forecasts(model, fleet, origins)
    assert values.shape == (2, 3, 2, HORIZON, 3)
    for number, origin in enumerate(origins):
        for seed in range(3):
            last = wavy(60, seed=seed)[origin - FIRST_SLOT - 1]
            np.testing.assert_allclose(values[number, seed, :, :, 1], np.repeat(last[:, None], HORIZON, 1), rtol=1e-5)


def test_a_server_without_enough_history_has_no_forecast() -> None:
    late = series_of(wavy(60)[36:], server="late", first_slot=FIRST_SLOT + 36)
    fleet = RecordedFleet(fleet_of(series_of(wavy(60), server="early"), late))
    values = forecast_at(servable_of(tiny_spec()), fleet, FIRST_SLOT + 36 + ENCODER // 2 - 1, servers=range(2))
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()
    values = forecast_at(servable_of(tiny_spec()), fleet, FIRST_SLOT + 36 + ENCODER // 2, servers=range(2))
    assert np.isfinite(values).all()


@pytest.mark.parametrize(("servers", "sizes"), [(0, []), (1, [1]), (512, [512]), (1100, [512, 512, 76])])
def test_portions_cover_the_fleet(servers: int, sizes: list[int]) -> None:
    parts = list(portions(servers))
    assert [len(part) for part in parts] == sizes
    assert [row for part in parts for row in part] == list(range(servers))
