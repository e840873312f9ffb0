"""Debian's prometheus and node_exporter, measuring this host and writing to a real daemon by remote write."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from support.daemon import DaemonProcess, wait_until
from support.length import at_length

from nordiq_watch.config.schema import DEFAULT_METRICS, Config
from nordiq_watch.storage.journal import Journal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("prometheus-node-exporter")),
        reason="needs the Debian packages prometheus and prometheus-node-exporter",
    ),
]

SCRAPES, PATIENCE_SECONDS = at_length((600, 900), short=(6, 60))
"""One per second."""
MEASURED = {
    "cpu_user_pct",
    "cpu_sys_pct",
    "cpu_iowait_pct",
    "cpu_idle_pct",
    "mem_used_pct",
    "disk_usage_pct",
    "net_in_mb_s",
    "net_out_mb_s",
    "load_average",
    "uptime_days",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def program(*command: str, log: Path) -> Iterator[None]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield
        finally:
            process.kill()


def exporter_command(port: int) -> Sequence[str]:
    return ("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}")


def prometheus_command(root: Path, daemon: DaemonProcess, *, exporter_port: int) -> Sequence[str]:
    config = root / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ["127.0.0.1:{exporter_port}"], labels: {{instance: "web1:9100"}}}}]
remote_write:
  - url: {daemon.url}/feed/prometheus
    authorization: {{credentials: "{daemon.key}"}}
    queue_config: {{batch_send_deadline: 1s}}
"""
    )
    return (
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={root / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{free_port()}",
    )


def stolen_pct(before: Any, after: Any) -> float:
    """The share of all processors that other guests of this machine's host took between two of psutil's cpu_times."""
    spent = [later - earlier for earlier, later in zip(before, after, strict=True)]
    return 100 * (after.steal - before.steal) / sum(spent)


def test_what_node_exporter_measures_arrives_by_remote_write(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path / "daemon", metrics=DEFAULT_METRICS)
    port = free_port()
    with daemon, program(*exporter_command(port), log=tmp_path / "exporter.log"):
        wait_until(lambda: is_up(port), what="node_exporter")
        before = psutil.cpu_times()
        with program(*prometheus_command(tmp_path, daemon, exporter_port=port), log=tmp_path / "prometheus.log"):
            wait_until(
                lambda: daemon.get("/status")["tick_count"] >= SCRAPES,
                what="scrapes to arrive",
                seconds=PATIENCE_SECONDS,
            )
        stolen = stolen_pct(before, psutil.cpu_times())
        daemon.kill()
    journal = Journal(
        tmp_path / "daemon" / "state" / "journal.sqlite3",
        metrics=DEFAULT_METRICS,
        interval_seconds=Config().window.interval_seconds,
    )
    batches = list(journal.replay(0))
    journal.close()
    assert {name for batch in batches for name in batch.servers} == {"web1"}
    last = {
        name: float(value)
        for batch in batches
        for row in batch.values
        for name, value in zip(DEFAULT_METRICS, row, strict=True)
        if value == value
    }
    assert set(last) >= MEASURED, (tmp_path / "prometheus.log").read_text()
    cpu = sum(last[name] for name in ("cpu_user_pct", "cpu_sys_pct", "cpu_iowait_pct", "cpu_idle_pct"))
    assert 100 - stolen - 15 <= cpu <= 110, "what other guests of a virtual machine's host took is in no metric"
    memory = psutil.virtual_memory()
    assert last["mem_used_pct"] == pytest.approx(100 * (1 - memory.available / memory.total), abs=20)
    assert last["load_average"] == pytest.approx(psutil.getloadavg()[0], abs=20)
    assert last["uptime_days"] > 0


def is_up(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).ok
    except requests.ConnectionError:
        return False
