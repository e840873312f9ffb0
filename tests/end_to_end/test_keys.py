"""Keys of a running daemon: added, used for what they allow, rotated and revoked without a restart."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.daemon import DaemonProcess, wait_until

from nordiq_watch.api.enums import Role
from nordiq_watch.security.key_file import add_entry, revoke

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path, metrics=["cpu_user_pct"]) as daemon:
        yield daemon


def status_of(daemon: DaemonProcess, key: str, method: str = "GET", path: str = "/admin/models") -> int:
    return requests.request(method, daemon.url + path, headers={"X-API-Key": key}, timeout=20).status_code


def test_keys_are_rotated_without_a_restart(daemon: DaemonProcess) -> None:
    file = daemon.root / ".nordiq_key"
    old = add_entry(file, "grafana-1", Role.READ, created="now")
    assert status_of(daemon, old) == 401
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: status_of(daemon, old) == 200, what="the new key to hold")
    assert status_of(daemon, old, "POST", "/admin/rollback") == 403
    new = add_entry(file, "grafana-2", Role.READ, created="now")
    revoke(file, "grafana-1")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: status_of(daemon, old) == 401, what="the old key to hold no more")
    assert status_of(daemon, new) == 200
    assert daemon.get("/admin/models")["count"] == 0
    lines = [json.loads(line) for line in (daemon.root / "logs" / "audit.jsonl").read_text().splitlines()]
    signals = [(line["keys_added"], line["keys_revoked"]) for line in lines if line["action"] == "SIGHUP"]
    assert signals == [(["grafana-1"], []), (["grafana-2"], ["grafana-1"])]
    assert not any(key in daemon.log for key in (old, new, daemon.key))


def test_a_key_file_that_is_damaged_changes_nothing(daemon: DaemonProcess) -> None:
    key = daemon.key
    with (daemon.root / ".nordiq_key").open("a") as file:
        file.write("and something else\n")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "line 2 is not a key" in daemon.log, what="a word about the line")
    assert status_of(daemon, key) == 200
