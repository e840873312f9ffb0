"""`import` into a daemon, and into the files of one that does not run."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.daemon import DaemonProcess, free_port
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.main import FAILED, main
from nordiq_watch.config.load import load_settings
from nordiq_watch.events import EventBus
from nordiq_watch.host.state_dir import StateLock
from nordiq_watch.ingest.build import IngestParts, build_ingest
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts
from nordiq_watch.roster.label_book import LabelBook
from nordiq_watch.storage.roster import RosterStore

METRICS = ("cpu_user_pct", "mem_used_pct")
LENGTH = 288
INTERVAL = 300


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose daemon does not run, and two days of two servers until now."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(f"metrics: [{', '.join(METRICS)}]\nserver: {{port: {free_port()}}}\n")
    write_export()
    return tmp_path


def write_export(*, slots: int = 576, days_ago: int = 0) -> pd.DataFrame:
    """A server is half as long there. Some seconds into each slot, the last of which is over."""
    last = int(time.time() // INTERVAL) - 1 - days_ago * 288
    rng = np.random.default_rng(4)
    frames = []
    for server, count in (("web1", slots), ("db1", slots // 2)):
        times = (last - np.arange(count)[::-1]) * INTERVAL + 70
        values = rng.uniform(5, 95, (count, 2)).round(2)
        frames.append(pd.DataFrame({"time": times, "host": server, "cpu": values[:, 0], "mem": values[:, 1]}))
    table = pd.concat(frames)
    table.to_csv("export.csv", index=False)
    return table


def restored(folder: Path) -> IngestParts:
    """As a daemon finds it at its start."""
    parts = build_ingest(
        load_settings(folder / "config.yaml", {}),
        EventBus(),
        live=Live(),
        parts=Parts(hidden=()),
        free_bytes=lambda: 10**10,
    )
    parts.restore()
    return parts


def archived(parts: IngestParts) -> dict[tuple[str, int], float]:
    return {
        (batch.servers[row], int(slot)): float(values[0])
        for batch in parts.archive.replay(0, 10**7)
        for row, slot, values in zip(batch.rows, batch.slots, batch.values, strict=True)
    }


def words(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_without_a_daemon_it_goes_into_its_files_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "export.csv"]) == 0
    said = words(capsys)
    assert f"written {2 * LENGTH} slots into the window and {864 - 2 * LENGTH} into the archive of" in said
    assert "state, for a daemon that starts there" in said
    assert main(["import", "export.csv"]) == 0
    assert "written 0 slots into the window and 0 into the archive of" in (again := words(capsys))
    assert "864 had their values already, and keep them" in again
    parts = restored(folder)
    table = pd.read_csv("export.csv")
    expected = {
        (host, at // INTERVAL): float(np.float32(cpu))
        for host, at, cpu in zip(table["host"], table["time"], table["cpu"], strict=True)
    }
    assert archived(parts) == expected
    assert parts.window.size == 2 * LENGTH
    parts.journal.close()


def test_what_the_archive_does_not_keep_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_export(days_ago=28)
    assert main(["import", "export.csv"]) == 0
    said = words(capsys)
    assert "are older than the 30 days of archive.days; --out DIR writes a dataset of them" in said
    write_export(days_ago=40)
    assert main(["import", "export.csv"]) == FAILED
    assert capsys.readouterr().err == (
        "error: all 864 slots are older than the 30 days that archive.days keeps; --out DIR writes a dataset of them\n"
    )


def test_files_that_a_daemon_holds_are_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock = StateLock(folder / "state")
    assert main(["import", "export.csv"]) == FAILED
    lock.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: a daemon uses {folder / 'state'}, but cannot be reached: no daemon answers at ")
    assert [path.name for path in (folder / "state").iterdir()] == ["daemon.lock"]


def test_an_address_that_was_given_is_not_passed_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["import", "export.csv", "--url", url]) == FAILED
    assert capsys.readouterr().err.startswith(f"error: no daemon answers at {url} ")
    assert not (folder / "state").exists()


def test_what_arrived_before_a_failure_is_told(stub: StubDaemon, capsys: pytest.CaptureFixture[str]) -> None:
    write_export(slots=8_000)
    taken: dict[str, Any] = {
        "success": True, "records_received": 10_000, "slots_in_window": 24, "slots_in_archive": 9_976,
        "slots_unchanged": 0, "tick": 1, "servers_tracked": 2, "servers_ready": 0,
    }  # fmt: skip
    stub.answers["GET", "/status"] = 200, {}
    stub.answers["POST", "/admin/import"] = [(200, taken), (403, {"error": "Forbidden", "detail": "not with this key"})]
    assert main(["import", "export.csv", "--url", stub.url]) == FAILED
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("10,000 slots were imported before this; the same command again goes on from there")
    assert "Forbidden" in line


@pytest.mark.slow
def test_a_daemon_that_runs_has_it_in_its_window_and_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "daemon"
    table = write_export()
    with DaemonProcess(root, metrics=METRICS) as daemon:
        monkeypatch.setenv("NORDIQ_API_KEY", daemon.key)
        for window, archive in ((2 * LENGTH, 864 - 2 * LENGTH), (0, 0)):
            arguments = ["import", "export.csv", "--url", daemon.url, "--config", str(root / "config.yaml"), "--json"]
            assert main(arguments) == 0
            written = json.loads(capsys.readouterr().out)["written"]
            expected = (
                f"{window:,} slots into the window and {archive:,} into the archive of the daemon at {daemon.url}"
            )
            assert written.startswith(expected)
        status = daemon.get("/status")
        assert (status["servers_tracked"], status["window_size"]) == (2, 2 * LENGTH)
        assert daemon.predictions()["metadata"]["model_type"] in ("baseline", "starter")
        daemon.stop()
    assert len(archived(restored(root))) == len(table)


def test_labels_go_along_into_the_files_of_a_daemon(folder: Path) -> None:
    write_export().assign(team="web", unit="shop").to_csv("export.csv", index=False)
    assert main(["import", "export.csv", "--label", "team", "--label", "group=unit"]) == 0
    store = RosterStore(folder / "state" / "servers.sqlite3", clock=time.time, part=Parts(hidden=()).of("roster"))
    assert LabelBook(store).of("web1") == {"team": "web", "group": "shop"}


def test_a_name_that_no_label_can_have_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "export.csv", "--label", "my team"])
    assert "'my team' has a name other than letters, digits" in capsys.readouterr().err
