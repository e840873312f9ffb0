from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

from nordiq_watch.errors import DatasetError
from nordiq_watch.tables.reader import find_metrics, read_chunks

METRICS = ["cpu_user_pct", "mem_used_pct"]
NOON = 1_736_164_800_000_000  # 2025-01-06T12:00:00Z in microseconds


def read_table(path: Path) -> pd.DataFrame:
    return pd.concat(read_chunks(path, METRICS), ignore_index=True)


def write(directory: Path, text: str, name: str = "a.csv") -> Path:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "written",
    ["2025-01-06T12:00:00", "2025-01-06 12:00:00", "2025-01-06T12:00:00Z", "2025-01-06T13:00:00+01:00"],
)
def test_a_time_without_a_zone_is_utc(tmp_path: Path, written: str) -> None:
    path = write(tmp_path, f"timestamp,server_name,cpu_user_pct\n{written},a,1\n")
    assert read_table(path)["time"].tolist() == [NOON]


def test_zones_may_be_mixed(tmp_path: Path) -> None:
    path = write(
        tmp_path, "timestamp,server_name,cpu_user_pct\n2025-01-06T12:00:00,a,1\n2025-01-06T13:00:00+01:00,a,1\n"
    )
    assert read_table(path)["time"].tolist() == [NOON, NOON]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
def test_parquet_times_of_any_unit_and_zone_are_read(
    tmp_path: Path, zone: str | None, unit: Literal["s", "ms", "ns"]
) -> None:
    times = pd.Series(pd.to_datetime([NOON], unit="us", utc=True)).dt.tz_convert(zone).dt.as_unit(unit)
    path = tmp_path / "a.parquet"
    pd.DataFrame({"timestamp": times, "server_name": ["a"], "cpu_user_pct": [1]}).to_parquet(path)
    assert read_table(path)["time"].tolist() == [NOON]


def test_only_columns_that_training_uses_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,server_name,mem_used_pct,color,status\n2025-01-06,a,1.5,red, idle \n")
    table = read_table(path)
    assert list(table.columns) == ["time", "server_name", "status", "mem_used_pct"]
    assert table["status"].tolist() == ["idle"]


def test_the_metrics_of_a_file_are_known_without_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,server_name,mem_used_pct,color\nno time,a,low,red\n")
    assert find_metrics(path, METRICS) == ["mem_used_pct"]


def test_below_an_empty_cell_a_cell_that_is_no_number_names_its_own_row(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,server_name,cpu_user_pct\n2025-01-06,a,\n2025-01-06,a,low\n")
    with pytest.raises(DatasetError, match="row 2: cpu_user_pct is 'low', not a number"):
        read_table(path)


def test_what_was_not_measured_is_nan(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,server_name,cpu_user_pct\n2025-01-06,a,\n2025-01-06,a,NaN\n2025-01-06,a,7\n")
    assert np.isnan(read_table(path)["cpu_user_pct"]).tolist() == [True, True, False]


def test_names_that_look_like_numbers_or_like_nothing_stay_names(tmp_path: Path) -> None:
    path = write(tmp_path, "timestamp,server_name,cpu_user_pct\n2025-01-06,007,1\n2025-01-06,null,1\n")
    assert read_table(path)["server_name"].tolist() == ["007", "null"]


def test_names_and_moments_are_read_as_the_feed_reads_them(tmp_path: Path) -> None:
    rows = ["2024-12-31T24:00:00,\u00a0web1,1", "2024-12-31T23:59:60Z,gro\u0308\u00dfe,1", "2025-01-01,web1\ufeff,1"]
    table = read_table(write(tmp_path, "\n".join(["timestamp,server_name,cpu_user_pct", *rows])))
    assert table["server_name"].tolist() == ["web1", "gr\u00f6\u00dfe", "web1"]
    assert table["time"].nunique() == 1


def test_numbers_kept_as_text_in_parquet_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = {"timestamp": ["2025-01-06"] * 2, "server_name": ["a"] * 2, "cpu_user_pct": ["1.5", None]}
    pd.DataFrame(table).to_parquet(path)
    numbers = read_table(path)["cpu_user_pct"].tolist()
    assert numbers[0] == 1.5
    assert np.isnan(numbers[1])


def test_a_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufefftimestamp,server_name,cpu_user_pct\n2025-01-06,a,1\n")
    assert len(read_table(path)) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "when,who,what\n1,a,1\n",
            ["lacks timestamp, server_name, at least one metric", "when, who, what", "--column timestamp="],
        ),
        (
            "timestamp,server_name,disk\n2025-01-06,a,1\n",
            ["lacks at least one metric", "cpu_user_pct", "disk", "--wide"],
        ),
        ("", ["is empty, without a line of column names"]),
        ("timestamp,server_name,cpu_user_pct\n2025-01-06,a,1\nyesterday,a,1\n", ["row 2", "'yesterday'"]),
        ("timestamp,server_name,cpu_user_pct\n,a,1\n", ["row 1", "timestamp ''"]),
        (
            "timestamp,server_name,cpu_user_pct\n03/04/2025,a,1\n",
            ["row 1", "'03/04/2025'", "00; export the year first"],
        ),
        (
            "timestamp,server_name,cpu_user_pct\n2025-01-06,a,1\n2025-01-06, ,1\n",
            ["row 2", "server_name is ''; must be a text that is not empty"],
        ),
        ("timestamp,server_name,cpu_user_pct\n2025-01-06,a,1\n2025-01-06,a\u200bb,1\n", ["row 2", "such as U+200B"]),
        ("timestamp,server_name,cpu_user_pct\n2025-01-06,*,1\n", ["row 1", "stands for the whole fleet"]),
        ("timestamp,server_name,cpu_user_pct\n2025-01-06T12:30:60,a,1\n", ["row 1", "12:30:60"]),
        ("timestamp,server_name,cpu_user_pct\n2025-01-06,a,1\n2025-01-06,a,low\n", ["row 2", "cpu_user_pct", "'low'"]),
        ("timestamp,server_name,cpu_user_pct\n2025-01-06,a,True\n", ["row 1", "cpu_user_pct", "True"]),
        (
            "timestamp,server_name,cpu_user_pct\n2025-01-06,a,1\n2025-01-06,a,1,2,3\n",
            ["row 2", "has 5 columns, the header 3", "goes into double quotes"],
        ),
    ],
)
def test_what_cannot_be_right_is_named_with_file_and_row(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(DatasetError) as caught:
        read_table(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_file_of_something_else_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    with pytest.raises(DatasetError, match=f"{name}: (cannot be read|lacks)"):
        read_table(tmp_path / name)
