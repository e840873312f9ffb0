"""Rows that come less often than the grid of five minutes has slots, as exports of long histories do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.small_fleet import BEGIN, settings_for, silent_console, write_dataset

from nordiq_watch.errors import DatasetError
from nordiq_watch.reload.proof import prove_written
from nordiq_watch.training.dataset import FleetData, load_dataset
from nordiq_watch.training.order import Order
from nordiq_watch.training.trainer import TrainingRun

DAY = 86_400


def table_of(servers: dict[str, Iterable[float]]) -> pd.DataFrame:
    """A row at each of these seconds."""
    rows = [
        {"timestamp": BEGIN + pd.Timedelta(seconds=second), "server_name": name, "cpu_user_pct": 10.0 + number % 24}
        for name, seconds in servers.items()
        for number, second in enumerate(seconds)
    ]
    return pd.DataFrame(rows)


def load(directory: Path, servers: dict[str, Iterable[float]]) -> FleetData:
    write_dataset(directory, table_of(servers))
    return load_dataset(directory, metrics=["cpu_user_pct"], interval_seconds=300)


def fleet(seconds: int, *, servers: int = 3, begin: int = 0, days: int = 3) -> dict[str, Iterable[float]]:
    return {f"s{seconds}-{number}": range(0, days * DAY, seconds) for number in range(begin, begin + servers)}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3600, "11 of 12 slots are filled in; set window.interval_seconds to 3600"),
        (1800, "5 of 6 slots are filled in; set window.interval_seconds to 1800"),
        (900, "2 of 3 slots are filled in; set window.interval_seconds to 900"),
        (7200, "23 of 24 slots are empty; set window.interval_seconds to 7200"),
    ],
)
def test_the_pace_and_the_interval_that_fits_it_are_told(seconds: int, words: str, tmp_path: Path) -> None:
    data = load(tmp_path, fleet(seconds))
    line = f"3 servers: rows come every {seconds} s, the grid has 300 s: {words}"
    assert data.repairs[0] == line
    assert data.sparse == line


@pytest.mark.parametrize(("seconds", "words"), [(420, "2 of 7"), (600, "1 of 2")])
def test_as_long_as_most_slots_are_measured_it_is_told_alone(seconds: int, words: str, tmp_path: Path) -> None:
    data = load(tmp_path, fleet(seconds))
    assert f"every {seconds} s, the grid has 300 s: {words} slots are filled in" in data.repairs[0]
    assert data.sparse is None


@pytest.mark.parametrize("seconds", [15, 60, 180, 200, 250, 300])
def test_rows_as_often_as_slots_or_more_often_are_no_matter(seconds: int, tmp_path: Path) -> None:
    data = load(tmp_path, fleet(seconds, days=1))
    assert (data.slow, data.sparse) == (None, None)


def test_jitter_outages_and_rows_that_lack_change_no_pace(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    times = {}
    for number in range(5):
        hours = np.arange(24 * 14)
        kept = (random.random(len(hours)) > 0.1) & ((hours < 100) | (hours > 150))
        times[f"s{number}"] = hours[kept] * 3600.0 + random.uniform(0, 90, kept.sum())
    data = load(tmp_path, times)
    assert data.sparse is not None
    assert data.sparse.startswith(
        "5 servers: rows come every 3600 s, the grid has 300 s: 11 of 12 slots are filled in;"
    )


def test_a_dataset_with_outages_on_the_grids_own_pace_is_not_slow(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    slots = np.arange(288 * 3)
    data = load(tmp_path, {"a": slots[random.random(len(slots)) > 0.3] * 300.0})
    assert (data.slow, data.sparse) == (None, None)


def test_rows_without_a_pace_are_told_by_what_is_filled_in(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    data = load(tmp_path, {name: np.cumsum(random.exponential(1500.0, 200)) for name in "ab"})
    assert data.slow is None
    assert data.sparse is not None
    assert data.sparse.endswith("of the slots repeat the one before: samples are farther apart than slots")


def test_servers_that_differ_are_counted(tmp_path: Path) -> None:
    data = load(tmp_path, fleet(3600, servers=6) | fleet(1800, servers=2) | fleet(300, servers=1, days=1))
    words = "6 of 9 servers (2 more at other slow paces): rows come every 3600 s, the grid has 300 s"
    assert data.sparse is not None
    assert data.sparse.startswith(words)
    assert data.sparse.endswith("set window.interval_seconds to 3600")


def test_a_few_slow_servers_do_not_change_the_interval_of_a_fleet(tmp_path: Path) -> None:
    data = load(tmp_path, fleet(300, servers=5) | fleet(3600, servers=1))
    line = "1 of 6 servers: rows come every 3600 s, the grid has 300 s: 11 of 12 slots are filled in; "
    assert data.repairs == (line + "export these every 300 s, or leave them out",)
    assert data.sparse is None


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3600, 1800, 7200])
def test_training_makes_no_model_of_made_up_slots(seconds: int, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", table_of(fleet(seconds, days=30)))
    settings = settings_for(tmp_path)
    console, _ = silent_console()
    order = Order(tmp_path / "data", tmp_path / "models", epochs=1, drop_anyway=True)
    with pytest.raises(
        DatasetError, match=rf"rows come every {seconds} s, .*; set window.interval_seconds to {seconds}$"
    ):
        TrainingRun(order, settings, console=console, prove=prove_written).execute()
    assert not list((tmp_path / "models").glob("tft_model_*"))
