"""A server that was deleted does not come back by a crash, and a running feed of its name makes it a new one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess

pytestmark = pytest.mark.slow

INTERVAL = 300


def records(names: tuple[str, ...], *, slots: int) -> list[dict[str, Any]]:
    now = time.time()
    return [
        {"timestamp": now - INTERVAL * slot, "server_name": name, "cpu_user_pct": 5.0 + slot}
        for name in names
        for slot in range(slots)
    ]


@pytest.mark.parametrize("settled", [False, True], ids=["in the journal", "in the archive"])
def test_a_deleted_server_stays_away_after_kill_9(tmp_path: Path, settled: bool) -> None:
    with DaemonProcess(tmp_path / "site", metrics=["cpu_user_pct"]) as daemon:
        daemon.feed(records(("web1", "rack/7 größe", "web3"), slots=6))
        if settled:  # a clean stop leaves everything in the archive
            daemon.stop()
            daemon.start()
        for name in ("web1", "rack%2F7%20gr%C3%B6%C3%9Fe"):
            assert daemon.request("DELETE", f"/servers/{name}").ok
        daemon.kill()
        daemon.start()
        assert daemon.get("/status")["servers_tracked"] == 1
        daemon.feed(records(("web1",), slots=1))
        daemon.kill()
        daemon.start()
        status = daemon.get("/status")
        assert (status["servers_tracked"], status["window_size"]) == (2, 7), "web3 has six samples, the new web1 one"
        assert daemon.request("DELETE", "/servers/never").status_code == 404
