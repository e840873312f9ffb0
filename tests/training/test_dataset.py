from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.small_fleet import BEGIN, FIRST_SLOT, INTERVAL_SECONDS, METRICS, fleet_table, series_of, write_dataset

from nordiq_watch.errors import DatasetError
from nordiq_watch.metrics import STATUSES
from nordiq_watch.network.gaps import MAX_GAP_SLOTS
from nordiq_watch.tables import reader
from nordiq_watch.training import spill
from nordiq_watch.training.dataset import FleetData, load_dataset

NAN = float("nan")


def load(directory: Path, rows: Sequence[dict[str, Any]] | pd.DataFrame, metrics: Sequence[str] = METRICS) -> FleetData:
    table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
    return load_dataset(write_dataset(directory, table), metrics=metrics, interval_seconds=INTERVAL_SECONDS)


def row(slot: float, cpu: float = 10.0, *, server: str = "ppdb001", **more: Any) -> dict[str, Any]:
    time = BEGIN + pd.Timedelta(seconds=slot * INTERVAL_SECONDS)
    return {"timestamp": time, "server_name": server, "cpu_user_pct": cpu} | more


def cpu_of(data: FleetData, piece: int = 0) -> list[float]:
    return data.series[piece].values[:, data.metrics.index("cpu_user_pct")].tolist()


def test_a_clean_dataset_needs_no_repair(tmp_path: Path) -> None:
    table = fleet_table(slots=30)
    data = load(tmp_path, table)
    assert data.repairs == ()
    assert data.metrics == METRICS
    assert data.servers == ["ppdb001", "ppdb002", "ppweb001"]
    assert [series.first_slot for series in data.series] == [FIRST_SLOT] * 3
    expected = table[table.server_name == "ppdb002"]["cpu_user_pct"].to_numpy(np.float32)
    np.testing.assert_array_equal(data.series[1].values[:, 0], expected)
    assert not data.has_status


def test_metrics_stand_in_the_configs_order(tmp_path: Path) -> None:
    data = load(tmp_path, [row(0, mem_used_pct=20.0, swap_used_pct=3.0)], ["swap_used_pct", "java_cpu_pct", *METRICS])
    assert data.metrics == ("swap_used_pct", "cpu_user_pct", "mem_used_pct")
    assert data.series[0].values.tolist() == [[3.0, 10.0, 20.0]]


def test_several_files_are_one_dataset(tmp_path: Path) -> None:
    pd.DataFrame([row(0, 1.0), row(1, 2.0)]).to_csv(tmp_path / "cpu.csv", index=False)
    memory = pd.DataFrame([row(0, mem_used_pct=5.0), row(1, mem_used_pct=6.0)]).drop(columns="cpu_user_pct")
    memory.to_parquet(tmp_path / "memory.parquet")
    data = load_dataset(tmp_path, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    assert data.series[0].values.tolist() == [[1.0, 5.0], [2.0, 6.0]]


def test_a_sample_belongs_to_the_slot_in_which_it_was_taken(tmp_path: Path) -> None:
    data = load(tmp_path, [row(0.0, 1.0), row(1.99, 2.0), row(2.01, 3.0)])
    assert cpu_of(data) == [1.0, 2.0, 3.0]


def test_unsorted_times_are_sorted_and_counted(tmp_path: Path) -> None:
    data = load(tmp_path, [row(2, 3.0), row(0, 1.0), row(1, 2.0), row(0, 9.0, server="b")])
    assert cpu_of(data, 1) == [1.0, 2.0, 3.0]
    assert data.repairs == ("1 row before an older row of the same server: sorted by time",)


def test_a_slot_is_the_mean_of_its_rows(tmp_path: Path) -> None:
    rows = [row(0, 1.0, mem_used_pct=5.0), row(0.5, 2.0, mem_used_pct=NAN), row(1, 3.0)]
    data = load(tmp_path, rows)
    assert data.series[0].values[0].tolist() == [1.5, 5.0]
    line = "1 row for a time slot that the server has already: window.aggregate says what a slot holds of them"
    assert data.repairs == (line,)


@pytest.mark.parametrize(("kind", "expected"), [("mean", 74.0), ("last", 10.0), ("max", 90.0)])
def test_of_five_rows_in_one_slot_the_chosen_aggregate_counts(tmp_path: Path, kind: str, expected: float) -> None:
    rows = [row(0.1 * number, 90.0) for number in range(4)] + [row(0.9, 10.0)]
    write_dataset(tmp_path, pd.DataFrame(reversed(rows)))
    data = load_dataset(tmp_path, metrics=METRICS, interval_seconds=INTERVAL_SECONDS, aggregates={"cpu_user_pct": kind})
    assert cpu_of(data) == [expected]


def test_of_two_rows_of_one_time_the_later_row_counts(tmp_path: Path) -> None:
    assert cpu_of(load(tmp_path, [row(0, 1.0), row(0, 2.0)])) == [2.0]


def test_a_sensors_overshoot_is_100_and_what_cannot_be_true_is_not_measured(tmp_path: Path) -> None:
    values = [50.0, 104.0, 110.0, 110.1, -1.0, float("inf"), 70.0, -0.1]
    data = load(tmp_path, [row(slot, value) for slot, value in enumerate(values)])
    assert cpu_of(data) == [50.0, 100.0, 100.0, 100.0, 100.0, 100.0, 70.0, 0.0]  # the last good value fills the gap
    assert data.repairs == (
        "cpu_user_pct: 2 values of 100 to 110 % kept as 100",
        "cpu_user_pct: 1 value of -1 to 0 % kept as 0",
        "cpu_user_pct: 3 values outside 0 to 100 taken as not measured",
    )


def test_a_count_may_be_as_large_as_it_is(tmp_path: Path) -> None:
    data = load(tmp_path, [row(0, load_average=250.0), row(1, load_average=-1.0)], ["load_average"])
    assert data.series[0].values.tolist() == [[250.0], [250.0]]
    assert data.repairs == (
        "1 column left out: cpu_user_pct; else --column METRIC=COLUMN, or import --label COLUMN",
        "load_average: 1 value outside 0 to 1e+12 taken as not measured",
    )


def test_a_short_gap_is_filled_with_the_value_before_it(tmp_path: Path) -> None:
    after = MAX_GAP_SLOTS + 1
    data = load(tmp_path, [row(0, 1.0), row(after, 2.0)])
    assert cpu_of(data) == [1.0] * after + [2.0]
    assert data.repairs == ("86% of the slots repeat the one before: samples are farther apart than slots",)


def test_a_longer_gap_ends_the_series(tmp_path: Path) -> None:
    after = MAX_GAP_SLOTS + 2
    data = load(tmp_path, [row(0, 1.0), row(1, 2.0), row(after + 1, 3.0)])
    assert [cpu_of(data, piece) for piece in range(2)] == [[1.0, 2.0], [3.0]]
    assert [series.first_slot - FIRST_SLOT for series in data.series] == [0, after + 1]
    assert data.repairs == ("gaps of more than 12 slots: 1 server in 2 pieces",)


def test_samples_that_are_farther_apart_than_slots_are_told(tmp_path: Path) -> None:
    table = fleet_table()
    write_dataset(tmp_path, table[table.groupby("server_name").cumcount() % 4 == 0])
    data = load_dataset(tmp_path, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    assert data.filled_share == pytest.approx(1 - 30 / 117)  # 30 samples; the last is of slot 116
    line = "3 servers: rows come every 1200 s, the grid has 300 s: 3 of 4 slots are filled in; "
    assert data.repairs == (line + "set window.interval_seconds to 1200",)
    assert data.sparse == data.repairs[0]


def test_years_between_two_samples_cost_no_memory(tmp_path: Path) -> None:
    data = load(tmp_path, [row(0, 1.0), row(10_000_000, 2.0)])
    assert [len(series.values) for series in data.series] == [1, 1]


def test_a_metric_that_begins_late_begins_a_new_series(tmp_path: Path) -> None:
    rows = [row(slot, mem_used_pct=NAN if slot < 20 else 5.0) for slot in range(40)]
    data = load(tmp_path, rows)
    assert [series.measured.tolist() for series in data.series] == [[True, False], [True, True]]
    assert [len(series.values) for series in data.series] == [20, 20]


def test_a_metric_that_one_server_lacks_is_nan_there_and_only_there(tmp_path: Path) -> None:
    rows = [row(slot, mem_used_pct=5.0) for slot in range(3)] + [row(slot, server="b") for slot in range(3)]
    data = load(tmp_path, rows)
    measured = {series.server: series.measured.tolist() for series in data.series}
    assert measured == {"b": [True, False], "ppdb001": [True, True]}


def test_a_metric_without_any_value_is_left_out(tmp_path: Path) -> None:
    data = load(tmp_path, [row(0, mem_used_pct=NAN)])
    assert data.metrics == ("cpu_user_pct",)
    assert data.repairs == ("mem_used_pct: no values at all, left out",)


def test_a_dataset_without_any_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"looked at cpu_user_pct; cpu_user_pct: 1 value outside 0 to 100 "):
        load(tmp_path, [row(0, NAN), row(1, 500.0)])


def test_a_dataset_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no rows"):
        load(tmp_path, pd.DataFrame([row(0)]).iloc[:0])


def test_blanks_and_accents_in_names_are_as_in_the_feed(tmp_path: Path) -> None:
    names = ["web1", "web1 ", "\u00a0web1", "caf\u00e9", "cafe\u0301", "WEB1"]
    data = load(tmp_path, [row(slot, server=name) for slot, name in enumerate(names)])
    assert data.servers == ["WEB1", "caf\u00e9", "web1"]


def test_the_profile_is_the_one_given_or_what_the_name_implies(tmp_path: Path) -> None:
    rows = [
        row(0, server="ppweb1", profile=None),
        row(0, server="ppdb1", profile="Cache"),
        row(1, server="ppdb1", profile=""),
        row(0, server="ppml1", profile="A"),
        row(1, server="ppml1", profile="B"),
    ]
    data = load(tmp_path, rows)
    profiles = {series.server: series.profile for series in data.series}
    assert profiles == {"ppweb1": "Web API", "ppdb1": "Cache", "ppml1": "B"}
    assert data.repairs == ("1 server with several profiles: the last one counts",)


def test_statuses_become_codes_and_a_filled_slot_has_none(tmp_path: Path) -> None:
    rows = [row(0, status="idle"), row(2, status="on fire"), row(3, status=None)]
    data = load(tmp_path, rows)
    assert data.has_status
    assert data.series[0].statuses is not None
    assert [STATUSES[code] for code in data.series[0].statuses] == ["idle", "unknown", "unknown", "unknown"]
    assert data.repairs == ("status: 'on fire' not in the list, taken as unknown",)


def test_a_status_column_without_a_status_is_none(tmp_path: Path) -> None:
    assert not load(tmp_path, [row(0, status="")]).has_status


def test_in_a_doubled_slot_the_last_status_given_counts(tmp_path: Path) -> None:
    data = load(tmp_path, [row(0, status="idle"), row(0.5, status="recovery"), row(0.7, status="")])
    assert data.series[0].statuses is not None
    assert [STATUSES[code] for code in data.series[0].statuses] == ["recovery"]


def test_a_part_of_a_series_is_a_series() -> None:
    series = series_of(np.arange(10), first_slot=100, statuses=range(10))
    part = series.between(103, 106)
    assert (part.first_slot, part.values[:, 0].tolist()) == (103, [3.0, 4.0, 5.0])
    assert part.statuses is not None
    assert part.statuses.tolist() == [3, 4, 5]
    assert len(series.between(90, 100).values) == 0
    assert series.between(90, 200).values.tolist() == series.values.tolist()


def messy_table(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Rows in no order, several of them per slot, with everything that is repaired."""
    slots = random.integers(0, 60, rows) + random.choice([0, 90], rows)
    cpu = random.uniform(-5, 112, rows)
    return pd.DataFrame(
        {
            "timestamp": BEGIN + pd.to_timedelta(slots * INTERVAL_SECONDS + random.integers(0, 300, rows), unit="s"),
            "server_name": random.choice(["ppweb1", " ppdb2", "ppdb2", "z"], rows),
            "cpu_user_pct": np.where(random.random(rows) < 0.2, NAN, cpu),
            "status": random.choice(["idle", "", "on fire"], rows),
            "profile": random.choice(["", "A", "B"], rows),
        }
    )


def test_where_a_chunk_or_a_partition_ends_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    messy_table(random, 300).to_parquet(tmp_path / "a.parquet", row_group_size=70)
    messy_table(random, 100).to_csv(tmp_path / "b.csv", index=False)
    messy_table(random, 100).drop(columns=["status", "profile"]).to_parquet(tmp_path / "c.parquet")
    whole = load_dataset(tmp_path, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    monkeypatch.setattr(reader, "CHUNK_ROWS", 7)
    monkeypatch.setattr(reader, "_BUFFER_BYTES", 400)
    monkeypatch.setattr(spill, "PARTITIONS", 2)
    pieces = load_dataset(tmp_path, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    assert len(whole.repairs) == 8
    assert pieces.repairs == whole.repairs
    assert [each.server for each in pieces.series] == [each.server for each in whole.series]
    for mine, theirs in zip(pieces.series, whole.series, strict=True):
        assert (mine.profile, mine.first_slot) == (theirs.profile, theirs.first_slot)
        np.testing.assert_array_equal(mine.values, theirs.values)
        np.testing.assert_array_equal(mine.statuses, theirs.statuses)


def test_an_error_names_its_row_in_any_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK_ROWS", 3)
    rows = [row(slot) for slot in range(10)] + [row(0, server="*")]
    with pytest.raises(DatasetError, match=r"row 11: server_name is '\*'"):
        load(tmp_path, rows)


def test_the_numbers_are_mapped_from_a_file_that_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = load(tmp_path / "data", fleet_table(slots=30))
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if "temporary" in line]
    assert any("(deleted)" in line for line in mapped)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not data.series[0].values.flags.writeable
    values = [series.values.copy() for series in data.series]
    assert sum(each.nbytes for each in values) == 3 * 30 * 2 * 4


def test_the_google_fleet_loads_as_it_is(google_fleet: Path) -> None:
    data = load_dataset(google_fleet, metrics=METRICS, interval_seconds=300)
    assert data.metrics == METRICS
    assert (len(data.series), len(data.series[0].values)) == (60, 2880)
