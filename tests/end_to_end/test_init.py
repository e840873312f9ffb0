"""`init` as a newcomer types it, in a bare directory, with real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.collectors import needs
from support.daemon import free_port, wait_until
from support.prometheus_history import prometheus_with, scrape

from nordiq_watch.cli.install_service import own_program
from nordiq_watch.cli.synthetic import Fleet, make_fleet, write_csv
from nordiq_watch.config.environment import environment_without_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SERVERS = 3


class Place:
    """A bare directory in which `init` is typed; what it leaves running is stopped at the end."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.processes: set[int] = set()

    def init(self, *options: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "nordiq_watch", "init", *options],
            cwd=self.root, env=environment_without_settings(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        self.processes |= {int(number) for number in re.findall(r"`kill (\d+)` stops it", done.stdout)}
        return done

    def key(self, name: str = ".nordiq_key") -> str:
        return (self.root / name).read_text().splitlines()[0]

    def get(self, path: str, *, key: str | None = None) -> requests.Response:
        headers = {"X-API-Key": key or self.key()}
        return requests.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=30)

    def stop(self) -> None:
        for number in self.processes:
            try:
                os.kill(number, signal.SIGTERM)
                wait_until(lambda number=number: _is_gone(number), what=f"the end of {number}")  # type: ignore[misc]
            except ProcessLookupError:
                pass
        self.processes.clear()


def _is_gone(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"  # a child of init's that nothing waits for in this container


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "bare").mkdir()
    place = Place(tmp_path / "bare")
    yield place
    place.stop()


@pytest.fixture
def export(tmp_path: Path) -> Path:
    fleet = make_fleet(time.time(), days=3)
    (tmp_path / "export").mkdir()
    write_csv(Fleet(fleet.servers[:SERVERS], fleet.slots, fleet.values[:SERVERS]), tmp_path / "export" / "fleet.csv")
    return tmp_path / "export"


def test_from_files_to_a_forecast_and_the_same_again(place: Place, export: Path) -> None:
    options = ("--dataset", str(export), "--port", str(place.port), "--max-minutes", "0.2", "--yes")
    done = place.init(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load((place.root / "config.yaml").read_text()) == {"server": {"port": place.port}}
    (version,) = [path.name for path in (place.root / "models").glob("tft_model_*")]
    forecast: Any = place.get("/predictions/current").json()
    assert len(forecast["predictions"]) == SERVERS
    assert forecast["metadata"]["model_version"] == version
    assert f"{SERVERS} servers are forecast, by {version}" in done.stdout
    assert len(re.findall(r"^ppdb\d+ +(?:cpu_user|mem_used)_pct +[\d.]+ +[\d.]+ +[\d.]+ to", done.stdout, re.M)) == 4
    assert f"http://127.0.0.1:{place.port}" in done.stdout
    assert str(place.root / ".nordiq_key") in done.stdout
    assert "train --dataset state/archive" in done.stdout
    assert place.key() not in done.stdout + done.stderr  # not into a script's log
    assert place.get("/predictions/current", key=place.key(".nordiq_feed_key")).status_code == 403

    config = (place.root / "config.yaml").stat()
    again = place.init(*options)
    assert again.returncode == 0, again.stdout + again.stderr
    for said in ("runs already at", "is there already", "(may only feed) are there"):
        assert said in again.stdout
    assert (place.root / "config.yaml").stat().st_mtime_ns == config.st_mtime_ns
    assert len(list((place.root / "models").glob("tft_model_*"))) == 1

    refused = place.init("--dataset", str(export), "--force", "--yes")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "stop it before the file is written anew" in refused.stderr


@needs("prometheus", program="promtool")
def test_from_prometheus_to_a_forecast_and_the_same_again(place: Place, tmp_path: Path) -> None:
    now = time.time()
    scraped = scrape(SERVERS, begin=now - 2.5 * 86_400, end=now - 30)
    with prometheus_with(scraped, tmp_path) as url:
        options = ("--prometheus", url, "--days", "2.4", "--port", str(place.port), "--max-minutes", "0.2", "--yes")
        done = place.init(*options)
        again = place.init(*options)
    assert (done.returncode, again.returncode) == (0, 0), done.stdout + done.stderr + again.stdout + again.stderr
    forecast: Any = place.get("/predictions/current").json()
    assert sorted(forecast["predictions"]) == [f"web{number}.example.net" for number in range(SERVERS)]
    assert forecast["metadata"]["model_version"].startswith("tft_model_")
    told = done.stdout.split()
    assert told[told.index("install") :][:6] == [
        "install", "-m", "400", "-o", "prometheus", str(place.root / ".nordiq_feed_key"),
    ]  # fmt: skip
    assert "authorization: {credentials_file: /etc/prometheus/nordiq_feed_key}" in done.stdout
    assert f"sudo {own_program()} install-service" in done.stdout, "sudo and cron do not find it by its name"
    assert "was fetched before" in again.stdout
    assert list((place.root / "state").glob("imports/*")) == []


def test_this_machine_is_measured_from_now_on(place: Place) -> None:
    done = place.init("--agent", "--port", str(place.port), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(place.processes) == 2
    wait_until(lambda: place.get("/status").json()["servers_tracked"] == 1, what="a sample of this machine")


def test_a_history_that_is_too_short_is_said_and_the_daemon_runs(place: Place, tmp_path: Path) -> None:
    (tmp_path / "short").mkdir()
    rows = [f"2025-01-15T10:{minute:02}:00,web1,25" for minute in range(0, 60, 5)]
    (tmp_path / "short" / "a.csv").write_text("\n".join(["timestamp,server_name,cpu_user_pct", *rows]))
    done = place.init("--dataset", str(tmp_path / "short"), "--port", str(place.port), "--yes")
    assert done.returncode == 1
    assert "no model was made" in done.stdout
    assert "too old for the daemon's archive" in done.stdout
    assert place.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "there is no terminal to ask at"),
        (("--agent",), "give --yes"),
        (("--dataset", "nowhere", "--yes"), "nowhere: does not exist"),
        (("--prometheus", "http://127.0.0.1:1", "--yes"), "http://127.0.0.1:1"),
        (("--prometheus", "http://x", "--agent", "--yes"), "give one of"),
        (("--agent", "--interval", "0", "--yes"), "0 is not a whole number of seconds"),
        (("--agent", "--timezone", "Mars", "--yes"), "'Mars'"),
        (("--agent", "--max-minutes", "x", "--yes"), "x is not a number of minutes"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(options: tuple[str, ...], said: str, place: Place) -> None:
    done = place.init(*options)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(place.root.iterdir()) == []


def test_a_port_of_another_program_is_one_line(place: Place) -> None:
    other = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(place.port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: _answers(place.port), what="the other program")
        done = place.init("--agent", "--port", str(place.port), "--yes")
    finally:
        other.terminate()
        other.wait()
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "is taken by another program" in done.stderr


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=5).ok
    except requests.ConnectionError:
        return False
