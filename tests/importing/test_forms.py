"""The same samples from the export forms of other programs are the same dataset, byte for byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from support.small_fleet import fleet_table

from nordiq_watch.config.schema import Config
from nordiq_watch.errors import DatasetError
from nordiq_watch.importing.dataset_writer import FILE, write_dataset
from nordiq_watch.importing.slot_table import SlotTable
from nordiq_watch.importing.sources import read_history
from nordiq_watch.tables.forms import AS_THEY_ARE, Forms
from nordiq_watch.training.dataset import load_dataset
from nordiq_watch.zones import find_zone

METRICS = ("cpu_user_pct", "mem_used_pct")
INTERVAL_SECONDS = 300
BERLIN = find_zone("Europe/Berlin")
ZABBIX_KEYS = {"cpu_user_pct": "system.cpu.util[,user]", "mem_used_pct": "vm.memory.utilization"}


def samples() -> pd.DataFrame:
    """Some minutes into each slot, so that a slot that is off by a second shows; with a gap, and cells not measured."""
    table = fleet_table(slots=60)
    table[list(METRICS)] = table[list(METRICS)].round(3)
    table["timestamp"] += pd.Timedelta(seconds=100)
    table.loc[table.index % 17 == 3, "mem_used_pct"] = np.nan
    return table[table.index % 60 != 20].reset_index(drop=True)


def read(place: Path, forms: Forms = AS_THEY_ARE) -> SlotTable:
    return read_history([place], Config(metrics=METRICS), forms=forms)


def epoch(table: pd.DataFrame, unit: str) -> pd.Series:
    return table["timestamp"].dt.as_unit(unit).astype("int64")


def wide(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return table.pivot_table(index="timestamp", columns="server_name", values=metric).reset_index()


def contract(folder: Path, table: pd.DataFrame) -> Forms:
    table.to_parquet(folder / "a.parquet")
    return AS_THEY_ARE


def own_names(folder: Path, table: pd.DataFrame) -> Forms:
    renamed = table.set_axis(["time", "host", "cpu", "mem"], axis=1)
    renamed.assign(time=epoch(table, "s")).to_csv(folder / "a.csv", index=False)
    return AS_THEY_ARE


def spreadsheet(folder: Path, table: pd.DataFrame) -> Forms:
    local = table["timestamp"].dt.tz_convert(BERLIN).dt.strftime("%Y-%m-%d %H:%M:%S")
    named = table.assign(timestamp=local).set_axis(["Date Time", "Hostname", "CPU %", "Memory %"], axis=1)
    (folder / "a.csv").write_text(named.to_csv(index=False, sep=";", decimal=","), encoding="utf-8-sig")
    return Forms(zone=BERLIN)


def tabs(folder: Path, table: pd.DataFrame) -> Forms:
    text = table.assign(timestamp=epoch(table, "ms")).to_csv(index=False, sep="\t")
    (folder / "a.tsv.gz").write_bytes(gzip.compress(text.encode()))
    return AS_THEY_ARE


def packed_wide(folder: Path, table: pd.DataFrame) -> Forms:
    for metric in METRICS:
        text = wide(table, metric).to_csv(index=False)
        with pyarrow.output_stream(folder / f"{metric}.csv.zst", compression="zstd") as file:
            file.write(text.encode())
    return AS_THEY_ARE


def zabbix(folder: Path, table: pd.DataFrame) -> Forms:
    long = table.assign(clock=epoch(table, "s")).melt(["clock", "server_name"], list(METRICS), "key").dropna()
    other = long.head(20).assign(key="agent.version", value="6.4.1")
    long["key"] = long["key"].map(ZABBIX_KEYS)
    pd.concat([other, long]).rename(columns={"server_name": "host"}).to_csv(folder / "history.csv", index=False)
    return AS_THEY_ARE


def hive(folder: Path, table: pd.DataFrame) -> Forms:
    for (server, day), part in table.groupby(["server_name", table["timestamp"].dt.date]):
        place = folder / f"host={server}" / f"date={day}"
        place.mkdir(parents=True)
        renamed = part.assign(ts=epoch(part, "us")).rename(
            columns={"cpu_user_pct": "usage_user", "mem_used_pct": "mem"}
        )
        renamed[["ts", "usage_user", "mem"]].to_parquet(place / "part-0.parquet")
    return AS_THEY_ARE


def said(folder: Path, table: pd.DataFrame) -> Forms:
    shares = table[["timestamp", "server_name", "cpu_user_pct", "mem_used_pct"]].copy()
    shares["timestamp"] = epoch(table, "ns")
    shares["cpu_user_pct"] = [f"{value}" for value in shares["cpu_user_pct"]]
    shares.set_axis(["x", "y", "z", "w"], axis=1).to_csv(folder / "a.csv", index=False)
    names = {"timestamp": "x", "server_name": "y", "cpu_user_pct": "z*1", "mem_used_pct": "w"}
    return Forms(columns=names)


def lines(folder: Path, table: pd.DataFrame) -> Forms:
    """As InfluxDB exports them: one series after the other, in parts, with what no rule knows."""
    cpu = [
        f"cpu,cpu=cpu-total,host={server} usage_user={value} {at}"
        for server, value, at in zip(table["server_name"], table["cpu_user_pct"], epoch(table, "ns"), strict=True)
    ]
    mem = [
        f'mem,host={server} available_percent={100 - value},note="a b" {at}'
        for server, value, at in zip(table["server_name"], table["mem_used_pct"], epoch(table, "ns"), strict=True)
        if value == value
    ]
    head = "# DDL\nCREATE DATABASE telegraf WITH NAME autogen\n# DML\n"
    (folder / "cpu.lp.gz").write_bytes(gzip.compress((head + "\n".join(cpu[::-1]) + "\n").encode()))
    (folder / "rest.line").write_text("\n".join([*mem, "disk,host=ppdb001,path=/ inodes=7i 1736121600000000000"]))
    return AS_THEY_ARE


def sysstat(folder: Path, table: pd.DataFrame) -> Forms:
    """As `sadf -j` writes it: a file per host and day, whose values end 5 s after their middle."""
    for (server, day), part in table.groupby(["server_name", table["timestamp"].dt.date]):
        records: list[dict[str, Any]] = []
        for at, cpu, mem in zip(part["timestamp"], part["cpu_user_pct"], part["mem_used_pct"], strict=True):
            end = at + pd.Timedelta(seconds=5)
            stamp = {"date": f"{end:%F}", "time": f"{end:%T}", "utc": 1, "interval": 10}
            records.append({"timestamp": stamp, "cpu-load": [{"cpu": "all", "user": cpu, "nice": 0.0, "system": 0.0}]})
            if mem == mem:
                records[-1]["memory"] = {"memused-percent": mem}
        whole = {"sysstat": {"hosts": [{"nodename": server, "statistics": records}]}}
        (folder / f"{server}-{day}.json").write_text(json.dumps(whole, indent=1))
    (folder / "package.json").write_text("{}")
    return AS_THEY_ARE


TABLES = (contract, own_names, spreadsheet, tabs, packed_wide, zabbix, hive, said)
"""Those that train reads too."""

WRITERS = (*TABLES, lines, sysstat)


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_form_is_the_same_dataset(tmp_path: Path, write: Callable[[Path, pd.DataFrame], Forms]) -> None:
    table = samples()
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.mkdir()
    other.mkdir()
    contract(plain, table)
    forms = write(other, table)
    write_dataset(read(plain), tmp_path / "expected")
    write_dataset(read(other, forms), tmp_path / "found")
    assert (tmp_path / "found" / FILE).read_bytes() == (tmp_path / "expected" / FILE).read_bytes()


def test_what_is_written_is_what_was_measured(tmp_path: Path) -> None:
    table = samples()
    contract(tmp_path, table)
    write_dataset(read(tmp_path), tmp_path / "out")
    written = pd.read_parquet(tmp_path / "out" / FILE)
    expected = table.sort_values(["server_name", "timestamp"], ignore_index=True)
    assert written["server_name"].tolist() == expected["server_name"].tolist()
    begins = (expected["timestamp"] - pd.Timedelta(seconds=100)).dt.as_unit("us")
    assert written["timestamp"].tolist() == begins.tolist()
    for metric in METRICS:
        np.testing.assert_array_equal(written[metric], expected[metric].astype("float32"))


@pytest.mark.parametrize("write", TABLES, ids=lambda write: write.__name__)
def test_training_reads_the_files_and_their_import_alike(
    tmp_path: Path, write: Callable[[Path, pd.DataFrame], Forms]
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    forms = write(folder, samples())
    write_dataset(read(folder, forms), tmp_path / "out")
    files = load_dataset(folder, metrics=METRICS, interval_seconds=INTERVAL_SECONDS, forms=forms)
    imported = load_dataset(tmp_path / "out", metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    assert [(one.server, one.first_slot) for one in files.series] == [
        (one.server, one.first_slot) for one in imported.series
    ]
    for one, other in zip(files.series, imported.series, strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_means_of_slots_clipping_and_names_are_those_of_the_feed(tmp_path: Path) -> None:
    rows = ["2025-01-06T12:00:00, web1 ,104,10", "2025-01-06T12:02:00,web1,50,20", "2025-01-06T12:05:00,web1,400,30"]
    (tmp_path / "a.csv").write_text("\n".join(["time,host,cpu,mem", *rows]))
    table = read(tmp_path)
    assert list(table.servers) == ["web1"]
    np.testing.assert_array_equal(table.values, np.array([[75, 15], [np.nan, 30]], dtype=np.float32))
    assert "cpu_user_pct: 1 value of 100 to 110 % kept as 100" in table.notes
    assert "cpu_user_pct: 1 value outside 0 to 100 taken as not measured" in table.notes


def test_what_was_guessed_and_left_out_is_said(tmp_path: Path) -> None:
    zabbix(tmp_path, samples())
    notes = "\n".join(read(tmp_path).notes)
    assert "host is taken for server_name; else --column server_name=COLUMN" in notes
    assert "system.cpu.util[,user] is taken for cpu_user_pct" in notes
    assert "times are taken for Unix time in seconds" in notes
    assert "20 rows of keys that are no metric left out: agent.version; else --column METRIC=KEY" in notes
    assert "for a time that the server has already" not in notes


def with_labels(table: pd.DataFrame) -> pd.DataFrame:
    """The last row of each server has another team."""
    last = ~table["server_name"].duplicated(keep="last")
    return table.assign(department=np.where(last, "web", "old"), rack=7)


def test_labels_come_from_columns_and_the_newest_value_counts(tmp_path: Path) -> None:
    table = with_labels(samples())
    table.sample(frac=1, random_state=3).to_csv(tmp_path / "a.csv", index=False)
    found = read(tmp_path, Forms(labels={"team": "department", "rack": "rack"}))
    server = table["server_name"].iloc[0]
    assert found.labels[server].labels == {"rack": "7", "team": "web"}
    assert found.labels[server].at == table[table["server_name"] == server]["timestamp"].max().timestamp()
    assert len(found.labels) == len(found.servers)


def test_a_dataset_keeps_labels_and_gives_them_back(tmp_path: Path) -> None:
    with_labels(samples()).to_parquet(tmp_path / "a.parquet")
    forms = Forms(labels={"team": "department"})
    write_dataset(read(tmp_path / "a.parquet", forms), tmp_path / "out")
    again = read(tmp_path / "out")
    assert {one.labels["team"] for one in again.labels.values()} == {"web"}
    assert not any("left out" in note for note in again.notes)


def test_the_column_labels_may_be_a_map_or_json(tmp_path: Path) -> None:
    table = samples().assign(labels=pd.Series([[("team", "web")]] * len(samples())))
    kind = pyarrow.map_(pyarrow.string(), pyarrow.string())
    schema = pyarrow.Schema.from_pandas(table.drop(columns="labels")).append(pyarrow.field("labels", kind))
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(table, schema=schema), tmp_path / "a.parquet")
    as_map = read(tmp_path / "a.parquet")
    table.assign(labels='{"team": "web"}').to_csv(tmp_path / "b.csv", index=False)
    as_json = read(tmp_path / "b.csv")
    assert {one.labels["team"] for one in as_map.labels.values()} == {"web"}
    assert as_json.labels == as_map.labels


def test_a_folder_gives_a_label_to_all_rows_below_it(tmp_path: Path) -> None:
    folder = tmp_path / "team=data%20base"
    folder.mkdir()
    contract(folder, samples())
    assert {one.labels["team"] for one in read(tmp_path, Forms(labels={"team": "team"})).labels.values()} == {
        "data base"
    }


def test_columns_that_are_left_out_are_named_and_bad_labels_counted(tmp_path: Path) -> None:
    with_labels(samples()).assign(labels="web").to_csv(tmp_path / "a.csv", index=False)
    notes = "\n".join(read(tmp_path).notes)
    assert "2 columns left out: department, rack; else --column METRIC=COLUMN, or import --label COLUMN" in notes
    assert '1 label left out, e.g. labels is not an object of texts, such as {"team": "web"}' in notes


def test_training_names_the_labels_that_it_does_not_use(tmp_path: Path) -> None:
    samples().assign(labels='{"team": "web", "env": "prod"}').to_csv(tmp_path / "a.csv", index=False)
    data = load_dataset(tmp_path, metrics=METRICS, interval_seconds=INTERVAL_SECONDS)
    assert "labels are no input of a model, left out: env, team" in data.repairs


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({"team": "nothing"}, "has no column nothing for --label team; its columns are"),
        ({"team": "server_name"}, "--label team=server_name: this column is server_name"),
    ],
)
def test_a_label_without_a_column_of_its_own_is_told(tmp_path: Path, labels: dict[str, str], says: str) -> None:
    contract(tmp_path, samples())
    with pytest.raises(DatasetError, match=says):
        read(tmp_path, Forms(labels=labels))


def test_one_column_is_one_label(tmp_path: Path) -> None:
    with_labels(samples()).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DatasetError, match="--label unit=department: this column is team; say another one"):
        read(tmp_path, Forms(labels={"team": "department", "unit": "department"}))


def test_a_file_with_a_column_per_server_has_no_labels(tmp_path: Path) -> None:
    wide(samples(), "cpu_user_pct").assign(team="web").to_csv(tmp_path / "cpu_user_pct.csv", index=False)
    with pytest.raises(DatasetError, match="--label needs a row per server"):
        read(tmp_path, Forms(labels={"team": "team"}))
