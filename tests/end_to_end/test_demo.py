"""The demo as a newcomer runs it: everything is shown, it lives on, and Ctrl-C ends it with nothing left behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from nordiq_watch.config.environment import environment_without_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

UNTIL = "The fleet lives on, and what happens is told here. Running until Ctrl-C."
FORECAST = r"(came true|missed   ) pp\w+\d{3}: CPU is [\d.]+ %; 60 s ago the forecast was [\d.]+ % \([\d.]+ to [\d.]+\)"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "nordiq_watch", "demo", "--dir", str(tmp_path / "demo")],
        env=environment_without_settings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    if process.poll() is None:
        process.terminate()  # it takes the daemon along
        process.wait(60)


def test_from_nothing_to_a_hot_reload_and_on(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    assert demo.stdout is not None
    shown = ""
    for line in demo.stdout:
        shown += line
        if line.startswith(UNTIL):
            break
    assert shown.endswith(f"{UNTIL}\n"), shown
    assert "The data is synthetic: 12 servers that do not exist" in shown
    first, second = sorted(path.name for path in (tmp_path / "demo" / "models").iterdir())
    assert len(re.findall(r"^(?:pp\w+\d{3})( +[\d.]+){2} +[\d.]+ to ", shown, re.MULTILINE)) == 2 * 12
    assert re.search(rf"^before +{first} +1 ", shown, re.MULTILINE)
    assert re.search(rf"^after +{second} +2 ", shown, re.MULTILINE)
    assert "trigger: watcher, outcome: loaded" in shown
    asked = re.search(r"asked (\d+) times for the forecast: 0 requests failed", shown)
    assert asked
    assert int(asked[1]) > 100

    address = re.search(r"The daemon is at (http://\S+); its API key is in (\S+)", shown)
    assert address is not None
    url, key = address[1], Path(address[2]).read_text().strip()
    answer = requests.get(f"{url}/predictions/current", headers={"X-API-Key": key}, timeout=10).json()
    assert answer["metadata"]["model_version"] == second

    told = ""
    for line in demo.stdout:
        told += line
        if len(re.findall(FORECAST, told)) >= 2 and "over      ppapi001" in told:
            break
    assert re.search(r"(warning|critical) +ppapi001: ", told)
    assert told.index("ppapi001: ") < told.index("over      ppapi001: the alert has ended")
    later = requests.get(f"{url}/predictions/current", headers={"X-API-Key": key}, timeout=10).json()
    assert later["metadata"]["horizon_start"] > answer["metadata"]["horizon_start"]
    accuracy = requests.get(f"{url}/admin/accuracy", headers={"X-API-Key": key}, timeout=10).json()
    assert accuracy["versions"][0]["metrics"]["cpu_user_pct"]["5s"]["points"] > 0, accuracy

    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=60)
    assert (demo.returncode, rest.splitlines()[-1]) == (0, "The daemon has stopped.")
    assert "Traceback" not in rest
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=5)
