from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.small_fleet import fleet_table

from nordiq_watch.cli.main import FAILED, main
from nordiq_watch.importing.dataset_writer import FILE


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With an export in files/: shares of 1 instead of percent, and a gap."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "files").mkdir()
    table = fleet_table(slots=40)
    table["cpu_user_pct"] /= 100
    table[(table.index % 40 < 10) | (table.index % 40 > 12)].set_axis(["time", "host", "cpu", "mem"], axis=1).to_csv(
        "files/export of all the servers.csv", index=False
    )
    return tmp_path


def test_a_dry_run_shows_what_it_would_write_in_80_columns_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "files", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    words = " ".join(out.split())
    for said in (
        "host is taken for server_name; else --column server_name=COLUMN",
        "servers 3: ppdb001, ppdb002, ppweb001",
        "span 2025-01-06T00:00:00+00:00 to 2025-01-06T03:15:00+00:00",
        "interval 300 s",
        "gaps 3, 9 slots in all; the longest 900 s",
        "looks like shares of 1 rather than percent; if so, --column 'cpu_user_pct=COLUMN*100'",
        "2025-01-06T00:00:00+00:00 ppdb001",
        "written nothing, because of --dry-run",
    ):
        assert said in words
    assert [path.name for path in folder.iterdir()] == ["files"]


def test_what_the_dry_run_says_to_type_makes_percent_of_shares(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "files", "--dry-run", "--json", "--column", "cpu_user_pct=cpu*100"]) == 0
    (cpu, _) = json.loads(capsys.readouterr().out)["metrics"]
    assert not cpu["looks_like_share"]
    assert 20 < cpu["low"] < cpu["high"] < 80


def test_a_directory_that_is_not_empty_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data").mkdir()
    assert main(["import", "files", "--out", "data"]) == 0
    written = (folder / "data" / FILE).read_bytes()
    capsys.readouterr()
    assert main(["import", "files", "--out", "data", "--wide", "mem_used_pct"]) == FAILED
    assert capsys.readouterr().err == "error: --out data: is there already, and not empty; name a new directory\n"
    assert (folder / "data" / FILE).read_bytes() == written


def test_a_write_that_fails_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow.parquet

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "data")

    monkeypatch.setattr(pyarrow.parquet.ParquetWriter, "write_table", full)
    assert main(["import", "files", "--out", "data"]) == FAILED
    assert capsys.readouterr().err == "error: data: No space left on device\n"
    assert [path.name for path in folder.iterdir()] == ["files"]
