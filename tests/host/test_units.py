"""What systemd's own tools say of the unit files, as `install-service` writes them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nordiq_watch.config.schema import ServerSettings
from nordiq_watch.host.file_handles import WANTED_FILES
from nordiq_watch.host.http.limits import MAX_CONNECTIONS, find_bounds
from nordiq_watch.host.installation import plan_units, write_whole
from nordiq_watch.host.shipped import read_unit_files

MOST_EXPOSED = 1.5
SERVICES = ("nordiq-watch", "nordiq-watch-train")
NOT_FOR_TRAINING = {"RestrictAddressFamilies", "IPAddressAllow", "LoadCredential", "Environment"}
"""Training needs no network, for which it has PrivateNetwork=, and no keys."""

with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(params=[False, True], ids=["", "gpu"])
def units(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The units in a directory; their program is one that is there."""
    files = plan_units(read_unit_files(), program=sys.executable, data_dir="/var/lib/nordiq-watch", gpu=request.param)
    for path, text in files.items():
        write_whole(tmp_path / Path(path).relative_to("/etc"), text, mode=0o644)
    return tmp_path / "systemd" / "system"


def analyze(*arguments: str) -> str:
    command = ["systemd-analyze", "--no-pager", "--man=no", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@with_systemd
def test_systemd_has_nothing_to_say(units: Path) -> None:
    assert analyze("verify", *(str(unit) for unit in units.glob("nordiq-watch*.*") if unit.is_file())) == ""


@with_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_hardly_exposed(units: Path, service: str) -> None:
    report = analyze("security", "--offline=true", str(units / f"{service}.service"))
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert level is not None, report
    assert float(level[1]) <= MOST_EXPOSED, report


@with_systemd
@pytest.mark.parametrize("units", [True], indirect=True)
def test_the_drop_in_for_a_gpu_is_read(units: Path) -> None:
    """Else the tests above would say nothing of it."""
    report = analyze("security", "--offline=true", str(units / "nordiq-watch.service"))
    assert re.search(r"✗ PrivateDevices=", report)


@pytest.mark.parametrize("units", [False], indirect=True)
def test_training_is_hardened_like_the_daemon(units: Path) -> None:
    daemon, training = (sandbox_of(units / f"{service}.service") for service in SERVICES)
    assert {name: value for name, value in daemon.items() if training.get(name) != value}.keys() <= NOT_FOR_TRAINING


@pytest.mark.parametrize("units", [False], indirect=True)
def test_the_daemon_may_open_the_files_that_it_wants(units: Path) -> None:
    limit = re.search(r"^LimitNOFILE=(\d+)$", (units / "nordiq-watch.service").read_text(), re.M)
    assert limit is not None
    assert int(limit[1]) == WANTED_FILES
    assert find_bounds(ServerSettings(), files=int(limit[1])).connections == MAX_CONNECTIONS


def sandbox_of(unit: Path) -> dict[str, str]:
    """What its section of hardening sets. Of a name that is set several times, all values."""
    text = unit.read_text()
    sandbox: dict[str, str] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text.partition("[Install]")[0].partition("UMask=")[2], re.M):
        sandbox[name] = f"{sandbox.get(name, '')} {value}"
    return sandbox
