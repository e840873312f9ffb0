"""Real collectors as processes that measure this host, and what node_exporter says beside them."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
import requests

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
from support.daemon import DaemonProcess, free_port, wait_until

SLOT_SECONDS = 10
LENGTH = 288
SERVER = "web1"

Slots = Mapping[int, Mapping[str, float]]


def needs(*packages: str, program: str) -> pytest.MarkDecorator:
    """Skips where Debian's packages are not installed; .ci/run installs them, and allows no such skip."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs the Debian packages {' and '.join(packages)}")


def make_daemon(root: Path) -> DaemonProcess:
    """On a port that it keeps over a restart."""
    window = {"interval_seconds": SLOT_SECONDS, "length": LENGTH}
    return DaemonProcess(root, metrics=DEFAULT_METRICS, server={"port": free_port()}, window=window)


def read_slots(daemon: DaemonProcess, *, interval_seconds: int = SLOT_SECONDS) -> Mapping[str, Slots]:
    """Server → slot → what was measured, of a daemon that no longer runs."""
    window = Window(
        DEFAULT_METRICS, interval_seconds=interval_seconds, length=LENGTH, max_servers=100, silent_seconds=10**6
    )
    state = daemon.root / "state"
    journal = Journal(state / "journal.sqlite3", metrics=DEFAULT_METRICS, interval_seconds=interval_seconds)
    archive = Archive(state / "archive", metrics=DEFAULT_METRICS, interval_seconds=interval_seconds, days=30)
    SampleStore(journal, archive, window, future_seconds=300).restore()
    journal.close()
    snapshot = window.snapshot()
    first = snapshot.last_slot - LENGTH + 1
    found: dict[str, dict[int, dict[str, float]]] = {}
    for server, rows in zip(snapshot.servers, snapshot.values.tolist(), strict=True):
        for place, row in enumerate(rows):
            values = {name: value for name, value in zip(DEFAULT_METRICS, row, strict=True) if value == value}
            if values:
                found.setdefault(server, {})[first + place] = values
    return found


@dataclass
class Program:
    """A command that runs until it is killed; what it says goes to `log`."""

    command: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def kill(self) -> None:
        """SIGKILL, as a crash would end it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None


def wait_for_slots(daemon: DaemonProcess, count: int, *programs: Program) -> None:
    """Until that many slots of the one server are known; fails with the programs' last words."""

    def are_there() -> bool:
        return bool(daemon.get("/status")["window_size"] >= count)

    try:
        wait_until(are_there, what=f"{count} slots", seconds=60 + 2 * SLOT_SECONDS * count)
    except AssertionError as error:
        said = "\n".join(f"{program.command[0]}: {program.log.read_text()[-2_000:]}" for program in programs)
        raise AssertionError(f"{error}; {daemon.log[-2_000:]}\n{said}") from None


def scrape_config(root: Path, targets: Mapping[str, str], *, name: str = "scrape") -> Path:
    """A file for Prometheus and vmagent: each target, by its server's name, once a second."""
    file = root / f"{name}.yml"
    file.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        + "".join(
            f"  - job_name: {job}\n    metrics_path: {path}\n    params: {{{params}}}\n"
            f'    static_configs: [{{targets: ["{host}"], labels: {{instance: "{SERVER}:9100"}}}}]\n'
            for job, (host, path, params) in ((job, _cut_up(url)) for job, url in targets.items())
        )
    )
    return file


def _cut_up(url: str) -> tuple[str, str, str]:
    """The URL's host, path and parameters, these in YAML."""
    host, path, query = re.fullmatch(r"http://([^/]+)(/[^?]*)\??(.*)", url).groups()  # type: ignore[union-attr]
    pairs = (one.partition("=") for one in query.split("&") if one)
    params = ", ".join(f"{name}: [{value}]" for name, _, value in pairs)
    return host, path, params


def prometheus(root: Path, daemon: DaemonProcess, targets: Mapping[str, str], *, replica: str = "a") -> Program:
    config = scrape_config(root, targets, name=f"prometheus-{replica}")
    interval = "scrape_interval: 1s"
    config.write_text(
        config.read_text().replace(interval, f"{interval}, external_labels: {{prometheus_replica: {replica}}}")
        + f"""
remote_write:
  - url: {daemon.url}/feed/prometheus
    authorization: {{credentials: "{daemon.key}"}}
    queue_config: {{batch_send_deadline: 1s}}
"""
    )
    return Program(
        (
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={root / f'tsdb-{replica}'}",
            f"--web.listen-address=127.0.0.1:{free_port()}",
        ),
        root / f"prometheus-{replica}.log",
    )


def vmagent(root: Path, daemon: DaemonProcess, targets: Mapping[str, str]) -> Program:
    return Program(
        (
            "vmagent",
            f"-promscrape.config={scrape_config(root, targets)}",
            f"-httpListenAddr=127.0.0.1:{free_port()}",
            f"-remoteWrite.tmpDataPath={root / 'vmagent'}",
            f"-remoteWrite.url={daemon.url}/feed/prometheus",
            f"-remoteWrite.bearerToken={daemon.key}",
            "-remoteWrite.flushInterval=1s",
        ),
        root / "vmagent.log",
    )


def collectd(root: Path, daemon: DaemonProcess, *, percentages: bool = False) -> Program:
    """Its plugins are as they are without settings, or give percentages where they can."""
    absolute = "  ValuesAbsolute false\n"
    percent = {"cpu": "", "memory": absolute, "swap": absolute, "df": absolute} if percentages else {}
    plugins = ("cpu", "memory", "load", "swap", "df", "interface", "uptime", "write_http")
    config = root / "collectd.conf"
    config.write_text(
        f'Hostname "{SERVER}"\nInterval 1\nBaseDir "{root}"\nPIDFile "{root / "collectd.pid"}"\n'
        + 'TypesDB "/usr/share/collectd/types.db"\n'
        + "".join(f"LoadPlugin {plugin}\n" for plugin in plugins)
        + "".join(f"<Plugin {name}>\n  ValuesPercentage true\n{more}</Plugin>\n" for name, more in percent.items())
        + f"""
<Plugin write_http>
  <Node "nordiq_watch">
    URL "{daemon.url}/feed/collectd"
    Format "JSON"
    Header "X-API-Key: {daemon.key}"
    LogHttpError true
    BufferSize 16384
  </Node>
</Plugin>
"""
    )
    return Program(("collectd", "-f", "-C", str(config)), root / "collectd.log")


@dataclass
class Exporter:
    """node_exporter on a port of this machine, read twice a second beside the collectors, in a thread of its own."""

    root: Path
    port: int = field(default_factory=free_port)
    _read: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    @contextmanager
    def running(self) -> Iterator[Self]:
        command = ("prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{self.port}")
        ended = threading.Event()
        with Program(command, self.root / "exporter.log"):
            wait_until(self._is_up, what="node_exporter")
            thread = threading.Thread(target=self._read_on, args=(ended,))
            thread.start()
            try:
                yield self
            finally:
                ended.set()
                thread.join()

    def check(self, slot: int, values: Mapping[str, float], *, memory_points: float = 5.0) -> None:
        """Each value lies among what node_exporter said around the slot: moments of reading differ by seconds."""
        begin, end = slot * SLOT_SECONDS - 3, (slot + 1) * SLOT_SECONDS + 3
        near = [(at, read) for at, read in self._read if begin <= at <= end]
        assert len(near) > 2, "this machine did not get to read the exporter"
        self._within(values["load_average"], [read["load"] for _, read in near], 0.3)
        self._within(values["mem_used_pct"], [read["memory"] for _, read in near], memory_points)
        self._within(values["disk_usage_pct"], [read["disk"] for _, read in near], 2)
        self._within(values["uptime_days"], [(at - read["boot"]) / 86_400 for at, read in near], 0.01)
        shares = [
            100 * (later["idle"] - earlier["idle"]) / (later["cpu"] - earlier["cpu"])
            for at, earlier in near
            for then, later in near
            if 2 <= then - at <= 4 and later["cpu"] > earlier["cpu"]
        ]
        self._within(values["cpu_idle_pct"], shares, 10)
        cpu = sum(values[f"cpu_{mode}_pct"] for mode in ("user", "sys", "iowait", "idle"))
        assert cpu <= 101

    @staticmethod
    def _within(value: float, said: Sequence[float], tolerance: float) -> None:
        assert min(said) - tolerance <= value <= max(said) + tolerance, said

    def _is_up(self) -> bool:
        try:
            return requests.get(self.url, timeout=5).ok
        except requests.ConnectionError:
            return False

    def _read_on(self, ended: threading.Event) -> None:
        query = "&".join(f"collect[]={name}" for name in ("cpu", "loadavg", "meminfo", "filesystem", "stat"))
        while not ended.wait(0.5):
            text = requests.get(f"{self.url}?{query}", timeout=30).text
            self._read.append((time.time(), _read_exposition(text)))


def _read_exposition(text: str) -> Mapping[str, float]:
    def total(pattern: str) -> float:
        return sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", text, flags=re.M))

    root = r'\{[^}]*mountpoint="/"[^}]*\}'
    return {
        "load": total("node_load1"),
        "boot": total("node_boot_time_seconds"),
        "memory": 100 - 100 * total("node_memory_MemAvailable_bytes") / total("node_memory_MemTotal_bytes"),
        "disk": 100 - 100 * total(f"node_filesystem_avail_bytes{root}") / total(f"node_filesystem_size_bytes{root}"),
        "idle": total(r'node_cpu_seconds_total\{cpu="\d+",mode="idle"\}'),
        "cpu": total(r"node_cpu_seconds_total\{[^}]*\}"),
    }


def wait_for(seconds: float, *, clock: Callable[[], float] = time.time) -> None:
    """Until this much time has gone by: an outage has a length."""
    until = clock() + seconds
    wait_until(lambda: clock() >= until, what="time to go by", seconds=seconds + 60)
