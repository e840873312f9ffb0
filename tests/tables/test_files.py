from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pandas as pd
import pytest

from nordiq_watch.errors import DatasetError
from nordiq_watch.tables.files import find_files
from nordiq_watch.training.dataset import load_dataset

MAC_OS_RESOURCES = bytes([0, 5, 0x16, 7, 0, 2, 0, 0]) + b"Mac OS X".ljust(4088, b"\0")


def month(number: int) -> str:
    """A CSV file with a row every five minutes of the month's first day."""
    times = pd.date_range(f"2025-{number:02d}-01", periods=288, freq="5min")
    rows = [f"{time.isoformat()},web{number},{number}.5" for time in times]
    return "\n".join(["timestamp,server_name,cpu_user_pct", *rows]) + "\n"


def test_sub_folders_and_packed_files_are_read_and_hidden_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "jan.csv").write_text(month(1))
    (tmp_path / "._jan.csv").write_bytes(MAC_OS_RESOURCES)
    (tmp_path / "feb.csv.gz").write_bytes(gzip.compress(month(2).encode("utf-8-sig")))
    (tmp_path / "2025-03").mkdir()
    (tmp_path / "2025-03" / "mar.CSV.BZ2").write_bytes(bz2.compress(month(3).encode()))
    spark = tmp_path / "spark"
    spark.mkdir()
    (spark / "_SUCCESS").touch()
    pd.read_csv(tmp_path / "jan.csv").assign(server_name="web4").to_parquet(spark / "part-00000.snappy.parquet")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "old.csv").write_text("not,a,dataset\n")
    data = load_dataset(tmp_path, metrics=["cpu_user_pct"], interval_seconds=300)
    assert data.servers == ["web1", "web2", "web3", "web4"]
    assert [len(series.values) for series in data.series] == [288] * 4
    assert [series.values[0, 0] for series in data.series] == [1.5, 2.5, 3.5, 1.5]
    assert data.repairs == ()


def test_what_no_reader_knows_is_named(tmp_path: Path) -> None:
    (tmp_path / "jan.csv").write_text(month(1))
    (tmp_path / "feb.xlsx").touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mar.txt.gz").touch()
    (tmp_path / "2025-01.sqlite3-wal").touch()
    (line,) = load_dataset(tmp_path, metrics=["cpu_user_pct"], interval_seconds=300).repairs
    assert line == (
        "left out 2 files that no reader knows (.txt.gz, .xlsx): feb.xlsx, old/mar.txt.gz; "
        "save each sheet of a spreadsheet as CSV in UTF-8"
    )


def test_a_packed_file_that_is_cut_off_or_not_packed_at_all_is_named(tmp_path: Path) -> None:
    packed = tmp_path / "jan.csv.gz"
    for content in (gzip.compress(month(1).encode())[:-200], month(1).encode()):
        packed.write_bytes(content)
        with pytest.raises(DatasetError, match=r"jan\.csv\.gz: cannot be read"):
            load_dataset(tmp_path, metrics=["cpu_user_pct"], interval_seconds=300)


def test_files_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.PARQUET", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "c.csv").mkdir()
    assert [path.name for path in find_files(tmp_path).paths] == ["a.PARQUET", "b.csv"]


def test_a_place_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"holds no \*\.parquet or \*\.csv"):
        find_files(tmp_path)
    (tmp_path / "data.txt").touch()
    with pytest.raises(DatasetError, match=r"archive; left out 1 file that no reader knows \(\.txt\): data\.txt"):
        find_files(tmp_path)
    with pytest.raises(DatasetError, match=r"data\.txt: is no file that can be read: \*\.parquet, \*\.csv and"):
        find_files(tmp_path / "data.txt")


@pytest.mark.parametrize("name", ["a.lp", "a.line.gz", "a.json"])
def test_files_that_import_reads_are_told_with_its_command(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for place in (tmp_path / name, tmp_path):
        with pytest.raises(DatasetError, match=r"`nordiq-watch import PATH --out DIR` makes a dataset"):
            find_files(place)
