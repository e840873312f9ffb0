from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.models import ENCODER, HORIZON, METRICS, drop_model
from support.networks import snapshot_of
from support.small_fleet import BEGIN, SERVERS, fleet_table, write_dataset

from nordiq_watch import offline
from nordiq_watch.reload.named_version import load_version, version_at

SLOTS = 40


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return drop_model(tmp_path / "models", "tft_model_20250130_143000")


def test_a_frame_is_forecast_as_the_daemon_would(model: Path) -> None:
    table = fleet_table(slots=SLOTS)
    frame = offline.forecast(model, table)
    values = table[list(METRICS)].to_numpy(np.float32).reshape(len(SERVERS), SLOTS, 2)
    served = load_version(version_at(model)).forecast(snapshot_of(values[:, -ENCODER:], servers=SERVERS)).bands
    assert list(frame.columns) == ["server_name", "metric", "timestamp", "p10", "p50", "p90"]
    assert len(frame) == len(SERVERS) * len(METRICS) * HORIZON
    found = frame[["p10", "p50", "p90"]].to_numpy().reshape(served.shape)
    np.testing.assert_array_equal(found, served)
    first = frame.iloc[HORIZON]
    assert (first.server_name, first.metric) == ("ppdb001", "mem_used_pct")
    assert first.timestamp == BEGIN + pd.Timedelta(minutes=5 * SLOTS)


def test_a_directory_and_a_frame_with_times_as_its_index_are_forecast_alike(model: Path, tmp_path: Path) -> None:
    table = fleet_table(slots=SLOTS)
    expected = offline.forecast(model, table)
    pd.testing.assert_frame_equal(offline.forecast(model, write_dataset(tmp_path / "data", table)), expected)
    pd.testing.assert_frame_equal(offline.forecast(str(model), table.set_index("timestamp")), expected)


@pytest.mark.parametrize("way", ["settings", "config"])
def test_a_slot_holds_what_the_config_says(model: Path, tmp_path: Path, way: str) -> None:
    """Two samples per slot: as the mean they are the table, as the largest they are another."""
    table = fleet_table(slots=SLOTS)
    spread = [table.assign(cpu_user_pct=table.cpu_user_pct + change) for change in (-5.0, 5.0)]
    later = spread[1].assign(timestamp=table.timestamp + pd.Timedelta(minutes=1))
    twice = pd.concat([spread[0], later]).sort_values(["server_name", "timestamp"])
    file = tmp_path / "aggregates.yaml"
    file.write_text("window: {aggregate: {cpu_user_pct: max}}\n")
    chosen = {"config": file} if way == "config" else {"settings": {"window": {"aggregate": {"cpu_user_pct": "max"}}}}
    largest = offline.forecast(model, twice, **chosen)
    pd.testing.assert_frame_equal(largest, offline.forecast(model, spread[1]))
    assert not largest.equals(offline.forecast(model, twice))


def test_what_cannot_be_forecast_has_no_rows(model: Path) -> None:
    table = fleet_table(slots=SLOTS)
    table.loc[table.server_name == "ppdb002", "mem_used_pct"] = np.nan
    cold = (table.server_name == "ppweb001") & (table.timestamp < BEGIN + pd.Timedelta(minutes=5 * (SLOTS - 3)))
    frame = offline.forecast(model, table[~cold])
    assert frame.groupby("server_name").metric.unique().map(list).to_dict() == {
        "ppdb001": list(METRICS),
        "ppdb002": ["cpu_user_pct"],
    }


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda table: table.drop(columns="server_name"), r"DataFrame: lacks server_name; its columns are"),
        (
            lambda table: table.assign(server_name=""),
            r"DataFrame, row 1: server_name is ''; must be a text that is not empty",
        ),
        (lambda table: table.assign(cpu_user_pct=[[1]] * len(table)), r"DataFrame"),
        (
            lambda table: table.drop(columns="mem_used_pct"),
            r"DataFrame: has no mem_used_pct, which tft_model_\S+ reads",
        ),
        (lambda table: table[:3], r"DataFrame: no server has 6 samples of 300 s in the last 12 slots"),
    ],
)
def test_a_frame_that_cannot_be_used_is_said_in_one_line(
    change: Callable[[pd.DataFrame], pd.DataFrame], line: str, model: Path
) -> None:
    with pytest.raises(offline.DatasetError, match=f"^{line}") as error:
        offline.forecast(model, change(fleet_table(slots=SLOTS)))
    assert "\n" not in str(error.value)
    assert "/" not in str(error.value), "no temporary file is named"


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(offline.ConfigError, match="gone is not a directory"):
        offline.forecast(tmp_path / "gone", fleet_table(slots=SLOTS))
    with pytest.raises(offline.ModelRejected, match="not complete"):
        offline.forecast(tmp_path, fleet_table(slots=SLOTS))
