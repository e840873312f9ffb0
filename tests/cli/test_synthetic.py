from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from nordiq_watch.cli.synthetic import (
    INTERVAL_SECONDS,
    METRICS,
    SLOTS_PER_DAY,
    Fleet,
    Incident,
    Simulation,
    make_fleet,
    write_csv,
)
from nordiq_watch.metrics import DEFAULT_PROFILE, describe, profile_of

NOW = 1_736_985_617.5  # 2025-01-16T00:00:17Z, inside a slot


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return make_fleet(NOW, days=8)


def column(fleet: Fleet, server: str, metric: str) -> np.ndarray:
    return fleet.values[fleet.servers.index(server), :, METRICS.index(metric)]


def test_it_ends_with_the_slot_of_now(fleet: Fleet) -> None:
    assert fleet.slots[-1] == NOW // INTERVAL_SECONDS
    assert len(fleet.slots) == 8 * 288
    assert (np.diff(fleet.slots) == 1).all()


def test_a_dozen_servers_of_known_kinds(fleet: Fleet) -> None:
    assert len(fleet.servers) == len(set(fleet.servers)) == 12
    assert DEFAULT_PROFILE not in map(profile_of, fleet.servers)


@pytest.mark.parametrize("metric", METRICS)
def test_every_value_can_be_true(fleet: Fleet, metric: str) -> None:
    values = fleet.values[:, :, METRICS.index(metric)]
    known = describe(metric)
    assert np.isfinite(values).all()
    assert values.min() >= known.low
    assert values.max() <= known.high
    assert values.std() > 0


def test_a_cpu_has_a_hundred_percent(fleet: Fleet) -> None:
    shares = [METRICS.index(name) for name in METRICS if name.startswith("cpu")]
    total = fleet.values[:, :, shares].sum(axis=2)
    assert total.max() <= 100.01


def test_days_have_a_rhythm(fleet: Fleet) -> None:
    hours = fleet.slots * INTERVAL_SECONDS % 86_400 // 3600
    cpu = column(fleet, "ppweb001", "cpu_user_pct")
    assert np.median(cpu[hours == 19]) > 2 * np.median(cpu[hours == 7])


def test_incidents_happen_and_are_rare(fleet: Fleet) -> None:
    busy = fleet.values[:, :, METRICS.index("cpu_iowait_pct")] > 25
    assert 0.001 < busy.mean() < 0.1


def test_the_same_seed_gives_the_same_fleet(fleet: Fleet) -> None:
    assert (make_fleet(NOW, days=8).values == fleet.values).all()
    assert (make_fleet(NOW, days=8, seed=8).values != fleet.values).any()


def test_records_are_what_the_api_takes(fleet: Fleet) -> None:
    slots = list(fleet.records(newest=3))
    assert [len(records) for records in slots] == [12, 12, 12]
    assert slots[-1][0] == {
        "timestamp": "2025-01-16T00:00:00",
        "server_name": "ppdb001",
        **{metric: column(fleet, "ppdb001", metric)[-1] for metric in METRICS},
    }


def test_more_records_than_there_are_is_all(fleet: Fleet) -> None:
    assert len(list(fleet.records(newest=10**6))) == len(fleet.slots)


def test_the_csv_holds_all_of_it(tmp_path: Path) -> None:
    fleet = make_fleet(NOW, days=1)
    write_csv(fleet, tmp_path / "fleet.csv")
    with (tmp_path / "fleet.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 288
    assert rows[0]["server_name"] == "ppdb001"
    assert float(rows[-1]["load_average"]) == column(fleet, "pprisk001", "load_average")[-1]


def test_at_a_shorter_interval_days_are_shorter() -> None:
    fast = make_fleet(NOW, days=2, interval_seconds=5)
    assert fast.values.shape == (12, 2 * SLOTS_PER_DAY, len(METRICS))
    records = [record for slot in fast.records(newest=2) for record in slot]
    assert {record["timestamp"] for record in records} == {"2025-01-16T00:00:10", "2025-01-16T00:00:15"}
    cpu = column(fast, "ppweb001", "cpu_user_pct")
    hours = fast.slots % SLOTS_PER_DAY // (SLOTS_PER_DAY // 24)
    assert np.median(cpu[hours == 19]) > 2 * np.median(cpu[hours == 7])


def test_it_goes_on_where_it_ended() -> None:
    simulation = Simulation(first_slot=1000, interval_seconds=5)
    first = simulation.run_until(1299 * 5)
    second = simulation.run_until(1349 * 5 + 4.9)
    nothing = simulation.run_until(1349 * 5 + 4.9)
    assert (first.slots[0], first.slots[-1], second.slots[0], second.slots[-1]) == (1000, 1299, 1300, 1349)
    assert nothing.values.shape == (12, 0, len(METRICS))
    jumps = np.abs(second.values[:, 0, 3] - first.values[:, -1, 3])  # memory wanders on
    assert jumps.max() < 4


def test_an_incident_goes_over_the_end_of_a_run_and_ends() -> None:
    simulation = Simulation(first_slot=1000)
    simulation.run_until(1000 * INTERVAL_SECONDS)
    simulation.strike("ppcon001", Incident.RUNAWAY)  # 8 to 20 percent, left alone
    half, rest = simulation.run_until(1012 * INTERVAL_SECONDS), simulation.run_until(1200 * INTERVAL_SECONDS)
    cpu = np.concatenate([column(half, "ppcon001", "cpu_user_pct"), column(rest, "ppcon001", "cpu_user_pct")])
    assert 20 < cpu[3] < cpu[7] < cpu[11]
    assert cpu[12 : Incident.RUNAWAY].min() > 92  # above the warning threshold
    assert np.median(cpu[Incident.RUNAWAY :]) < 30
