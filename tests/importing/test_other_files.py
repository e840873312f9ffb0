"""Line protocol and sysstat's JSON: what they come to, and what is said of what cannot be read."""

from __future__ import annotations

import json
import random
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from nordiq_watch.config.schema import Config, FeederSettings
from nordiq_watch.errors import DatasetError
from nordiq_watch.importing import sample_spill
from nordiq_watch.importing.replay import Replay
from nordiq_watch.importing.slot_table import SlotTable
from nordiq_watch.importing.sources import read_history
from nordiq_watch.importing.summary import summarize
from nordiq_watch.importing.sysstat_files import read_sysstat
from nordiq_watch.ingest.formats.mappings import TELEGRAF
from nordiq_watch.ingest.formats.series import NAME, Series
from nordiq_watch.tables.forms import AS_THEY_ARE, Forms
from nordiq_watch.zones import find_zone

AT = 1_738_245_900
NOW = AT + 86_400.0

RECORD: dict[str, Any] = {
    "timestamp": {"date": "2025-01-30", "time": "14:10:00", "utc": 1, "interval": 600},
    "cpu-load": [
        {"cpu": "all", "usr": 28.0, "nice": 3.0, "sys": 9.0, "iowait": 4.0, "irq": 0.5, "soft": 1.5, "idle": 54.0},
        {"cpu": "0", "usr": 99.0, "nice": 0.0, "sys": 0.0, "iowait": 0.0, "irq": 0.0, "soft": 0.0, "idle": 1.0},
    ],
    "memory": {
        "memfree": 14_941_216, "avail": 18_353_160, "memused": 5_939_904, "memused-percent": 24.06,
        "swpfree": 600, "swpused": 200, "swpused-percent": 25.0,
    },
    "queue": {"runq-sz": 10, "ldavg-1": 14.87},
    "network": {
        "net-dev": [
            {"iface": "lo", "rxkB": 86.25, "txkB": 86.25},
            {"iface": "eth0", "rxkB": 1000.0, "txkB": 500.0},
            {"iface": "eth1", "rxkB": 1000.0, "txkB": 0.0},
        ]
    },
    "filesystems": [
        {"mountpoint": "/boot", "%fsused": 10.0, "%ufsused": 11.0},
        {"mountpoint": "/", "%fsused": 70.0, "%ufsused": 75.0},
    ],
}  # fmt: skip


def sadf(*records: dict[str, Any], nodename: str = "web1") -> str:
    return json.dumps({"sysstat": {"hosts": [{"nodename": nodename, "statistics": list(records)}]}})


def read(*places: Path, forms: Forms = AS_THEY_ARE) -> SlotTable:
    return read_history(places, Config(), forms=forms)


def cells_of(table: SlotTable) -> dict[tuple[str, int], dict[str, float]]:
    return {
        (server, int(table.slots[row])): {
            name: float(value) for name, value in zip(table.metrics, table.values[row], strict=True) if value == value
        }
        for server, rows in table.servers.items()
        for row in range(rows.start, rows.stop)
    }


def test_sysstat_has_the_metrics_as_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(sadf(RECORD))
    ((server, at, values),) = read_sysstat(tmp_path / "a.json", zone=UTC)
    assert (server, at) == ("web1", AT * 1_000_000)  # 14:05, the middle of 14:00 to 14:10
    assert values == {
        "cpu_user_pct": 31.0,
        "cpu_sys_pct": 11.0,
        "cpu_iowait_pct": 4.0,
        "cpu_idle_pct": 54.0,
        "mem_used_pct": pytest.approx(100 - 100 * 18_353_160 / (5_939_904 / 0.2406)),
        "swap_used_pct": 25.0,
        "net_in_mb_s": 2.048,
        "net_out_mb_s": 0.512,
        "load_average": 14.87,
        "disk_usage_pct": 75.0,
    }
    plain = {"timestamp": RECORD["timestamp"], "cpu-load": [{"cpu": "all", "user": 1.0, "nice": 2.0, "system": 3.0}]}
    plain["memory"] = {"memused-percent": 24.06, "swpfree": 0, "swpused": 0, "swpused-percent": 0.0}
    (tmp_path / "a.json").write_text(sadf(plain))
    ((_, _, values),) = read_sysstat(tmp_path / "a.json", zone=UTC)
    assert values == {"cpu_user_pct": 3.0, "cpu_sys_pct": 3.0, "mem_used_pct": 24.06}  # and no swap


def test_times_of_sysstat_that_are_local_are_of_the_zone(tmp_path: Path) -> None:
    local = {**RECORD, "timestamp": {**RECORD["timestamp"], "utc": 0}}
    (tmp_path / "a.json").write_text(sadf(RECORD) + "\n")
    (tmp_path / "b.json").write_text(sadf(local))
    berlin = Forms(zone=find_zone("Europe/Berlin"))
    (first,), (second,) = (read(tmp_path / name, forms=berlin).slots.tolist() for name in ("a.json", "b.json"))
    assert first - second == 12


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "sar15.txt",
            "Linux 6.1.0 (web1) \t01/30/25 \t_x86_64_\t(2 CPU)\n\n00:00:01 CPU",
            "is text of sar; of the file",
        ),
        ("sa15", b"\x96\xd5\x75\x21", "is sysstat's own file; type sadf -j "),
        ("a.json", "[1, 2]", "is JSON, but not of sadf -j"),
        ("a.json", '{"sysstat": ', "is not as sadf -j writes it"),
        ("a.json", sadf({"timestamp": {"date": "yesterday"}}), "; type sadf -j FILE -- -u -r -S"),
        ("a.json", sadf(RECORD, nodename="a\nb"), "nodename "),
        ("a.lp", "cpu,host=a usage_user=1 1738245900\ncpu usage_user=\n", "a.lp, line 2: a field is no name=value"),
        (
            "a.lp",
            "cpu,host=a usage_user=1 1738245900\ncpu,host=a usage_user=2\n",
            "a line of cpu_usage_user has no time",
        ),
        (
            "a.lp",
            "cpu,host=a usage_user=1 1738245900\ncpu,host=a usage_user=2 1738245900000000000\n",
            "a line of cpu_usage_user has the time 1738245900000000000, no Unix time in seconds as in the first line",
        ),
        (
            "a.lp",
            "cpu,host=a usage_user=1 1738245900000\ncpu,host=a usage_user=2 1738245900\n",
            "a line of cpu_usage_user has the time 1738245900, no Unix time in milliseconds as in the first line",
        ),
        ("a.lp", "cpu,host=a usage_user=1\n", "no line ends with a time; write measurement,tag=value field=1 time"),
        ("a.lp", b"\xff\xfe", "no line ends with a time"),
        ("a.lp.gz", b"no gzip", "cannot be read: "),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError) as error:
        read(file)
    assert said in str(error.value)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("unit", "word"), [(1, "seconds"), (1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nano")]
)
def test_the_size_of_the_first_time_says_what_it_counts(tmp_path: Path, unit: float, word: str) -> None:
    (tmp_path / "a.lp").write_text(f"system,host=a load1=2.5 {int(AT * unit)}\n")
    table = read(tmp_path / "a.lp")
    assert cells_of(table) == {("a", AT // 300): {"load_average": 2.5}}
    assert f"times of a.lp are taken for Unix time in {word}" in table.notes[0]


def telegraf_series(hours: int) -> list[Series]:
    """Counters and shares every 20 s with jitter."""
    rng = random.Random(3)
    found = []
    for host in ("web1", "web2"):
        times = [AT + step * 20 + rng.uniform(-5, 5) for step in range(hours * 180)]
        for name, labels, bound in (
            ("cpu_usage_user", {"cpu": "cpu-total"}, 40.0),
            ("cpu_usage_nice", {"cpu": "cpu-total"}, 5.0),
            ("mem_available_percent", {}, 99.0),
            ("net_bytes_recv", {"interface": "eth0"}, None),
        ):
            total, samples = 0, []
            for at in times:
                total += rng.randrange(10**7)
                value = float(total) if bound is None else round(rng.uniform(0, bound), 3)
                samples.append((round(at, 3), value))
            found.append(Series({NAME: name, "host": host, **labels}, samples))
    return found


def test_an_export_of_series_after_series_is_what_telegraf_would_have_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_spill, "MOST_IN_MEMORY", 700)
    series, text = telegraf_series(6), []
    for one in series:
        measurement, _, field = one.labels[NAME].partition("_")
        tags = "".join(f",{key}={value}" for key, value in one.labels.items() if key != NAME)
        text += [f"{measurement}{tags} {field}={value!r} {round(at * 1e9)}" for at, value in one.samples]
    (tmp_path / "all.lp").write_text("\n".join(text))
    live = Replay(Config(), "influx", Config().feeders.influx, TELEGRAF)
    for now in range(AT - 60, AT + 7 * 3600, 30):
        part = [Series(one.labels, [s for s in one.samples if now <= s[0] < now + 30]) for one in series]
        live.take(part, begin=now)
    live.finish(AT + 7 * 3600)
    found = cells_of(read(tmp_path / "all.lp"))
    expected = live.pop(10**9)
    assert found.keys() == expected.keys()
    assert len(found) > 2 * 70
    for cell, values in expected.items():
        assert found[cell] == pytest.approx(values, rel=1e-6)
    assert {name for values in found.values() for name in values} == {"cpu_user_pct", "mem_used_pct", "net_in_mb_s"}


def test_of_sysstat_the_unit_is_known_and_its_pace_is_no_gap(tmp_path: Path) -> None:
    """A quiet host's percentages below 1 are no shares, and every ten minutes is how sysstat measures."""
    quiet = {"cpu": "all", "usr": 0.5, "nice": 0.0, "sys": 0.2, "iowait": 0.1, "irq": 0.0, "soft": 0.0, "idle": 99.2}
    times = [
        {"date": "2025-01-06", "time": f"12:{minute:02}:00", "utc": 1, "interval": 600} for minute in range(0, 60, 10)
    ]
    records = [{"timestamp": time, "cpu-load": [quiet]} for time in times]
    (tmp_path / "a.json").write_text(sadf(*records))
    summary = summarize(read_history([tmp_path / "a.json"], Config(), forms=AS_THEY_ARE), now=NOW)
    assert len(summary.metrics) >= 3
    assert not any(metric.looks_like_share for metric in summary.metrics)
    assert (summary.pace_seconds, summary.gaps, summary.missing_slots) == (600, 0, 0)


def test_files_without_a_metric_are_told_by_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "a.lp").write_text("cpu,host=a usage_guess=1 1738245900000000000\n")
    with pytest.raises(DatasetError, match=r"/a\.lp: its files have no rows with a metric of the config; times of a"):
        read_history([tmp_path / "a.lp"], Config(), forms=AS_THEY_ARE)
    (tmp_path / "s.json").write_text('{"sysstat": {"hosts": []}}')
    with pytest.raises(DatasetError, match=r"/s\.json: its files have no rows"):
        read_history([tmp_path / "s.json"], Config(), forms=AS_THEY_ARE)


def test_tags_of_line_protocol_are_labels_where_the_config_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.lp").write_text(
        f"system,host=a,team=web,rack=r1 load1=2.5 {AT}000000000\n"
        f"system,host=a,team=db,rack=r1 load1=2.5 {AT + 600}000000000\n"
        f"system,host=b,rack=r\u200b2 load1=2.5 {AT}000000000\n"
        f"system,host=c load1=2.5 {AT}000000000\n"
    )
    config = Config(feeders=FeederSettings(labels=("team", "rack")))
    table = read_history([tmp_path], config, forms=AS_THEY_ARE)
    assert table.labels["a"].labels == {"team": "db", "rack": "r1"}
    assert table.labels["a"].at == AT + 600
    assert "c" not in table.labels
    assert any("label rack of b has control characters" in note for note in table.notes)
    assert read(tmp_path).labels == {}


def test_of_tags_and_columns_of_one_server_the_newer_label_counts(tmp_path: Path) -> None:
    (tmp_path / "a.lp").write_text(f"system,host=a,team=web,rack=r1 load1=2.5 {AT}000000000\n")
    (tmp_path / "b.csv").write_text(
        f'time;host;load;labels\n{AT - 600};a;1;"{{""team"": ""old"", ""env"": ""dev""}}"\n{AT};b;1;\n'
    )
    config = Config(feeders=FeederSettings(labels=("team", "rack")))
    table = read_history([tmp_path], config, forms=AS_THEY_ARE)
    assert {server: given.labels for server, given in table.labels.items()} == {
        "a": {"team": "web", "rack": "r1", "env": "dev"}
    }


def test_beside_files_of_own_forms_what_no_reader_knows_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "a.lp").write_text(f"system,host=a load1=2.5 {AT}000000000\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "b.xlsx").write_bytes(b"PK")
    notes = read_history([tmp_path], Config(), forms=AS_THEY_ARE).notes
    assert "1 file that no reader knows (.xlsx): old/b.xlsx; save each sheet of a spreadsheet as CSV" in notes[0]


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ("2025-01-30T14:00:00", ()),
        ("2025-01-31T15:00:00", ("0.9 hours ahead of this machine's clock: --timezone ZONE",)),
        (
            "2031-01-30T14:00:00",
            ("2,190 days ahead of this machine's clock: a wrong year", "--column timestamp=COLUMN"),
        ),
        ("2001-01-30T14:00:00", ("2001-01-30T14:00:00+00:00, which is long ago", "--column timestamp=COLUMN")),
    ],
)
def test_a_span_that_can_hardly_be_meant_is_doubted(tmp_path: Path, time: str, says: tuple[str, ...]) -> None:
    (tmp_path / "a.csv").write_text(f"time,host,cpu\n{time},a,1\n")
    notes = " ".join(summarize(read_history([tmp_path], Config(), forms=AS_THEY_ARE), now=NOW).notes)
    assert ("rows are of" in notes) is bool(says)
    for said in says:
        assert said in notes
