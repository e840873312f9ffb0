"""What collectors' own formats cost the daemon, beside what they cost a sender; and a fleet of node_exporters."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
from common import Row, tell
from support.daemon import DaemonProcess
from support.remote_write import V1_HEADERS, V2_HEADERS, Sent, node, pack, write_v1, write_v2

SERIES = 1_000
PER_REQUEST = 2_000
"""Samples: what Prometheus 3 sends at once, unless told otherwise."""
SCRAPE_SECONDS = 15.0
FLEET_HOSTS = 1_000
FLEET_RATE = FLEET_HOSTS * SERIES / SCRAPE_SECONDS

_MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")


@dataclass(frozen=True, slots=True)
class Format:
    """encode: a scrape of some hosts, by their numbers, at a moment; what it holds is counted in `unit`."""

    name: str
    path: str
    headers: Mapping[str, str]
    encode: Callable[[Sequence[int], float], bytes]


def scrape(host: int, at: float) -> list[Sent]:
    """What node_exporter says of a host with 8 processors: 84 series that rules want, of 1,000."""
    name = f"web{host}:9100"

    def make(metric: str, value: float, **labels: str) -> Sent:
        return node(metric, value, at, instance=name, **labels)

    cpu = [make("node_cpu_seconds_total", at / 8, cpu=str(number), mode=mode) for number in range(8) for mode in _MODES]
    memory = [
        make(f"node_memory_{what}_bytes", 4e9 + host) for what in ("MemAvailable", "MemTotal", "SwapFree", "SwapTotal")
    ]
    traffic = [
        make(f"node_network_{way}_bytes_total", at * 1e5, device=device)
        for device in ("lo", "eth0", "eth1")
        for way in ("receive", "transmit")
    ]
    disks = [
        make(f"node_filesystem_{what}_bytes", 5e10, device="/dev/sda1", fstype="ext4", mountpoint=place)
        for place in ("/", "/data", "/boot", "/var")
        for what in ("avail", "size")
    ]
    known = [*cpu, *memory, *traffic, *disks, make("node_load1", 0.5), make("node_boot_time_seconds", at - 86_400)]
    others = [
        make(f"node_of_no_rule_{number % 300}_total", float(number), device=f"dm-{number // 300}")
        for number in range(SERIES - len(known))
    ]
    return [*known, *others]


def _all(hosts: Sequence[int], at: float) -> list[Sent]:
    return [series for host in hosts for series in scrape(host, at)]


def _telegraf(hosts: Sequence[int], at: float) -> bytes:
    """Ten fields each metric."""
    metrics = []
    for host in hosts:
        series = scrape(host, at)
        metrics += [
            {
                "name": f"plugin{first}" if first else "mem",
                "tags": {"host": f"web{host}", "device": "sda"},
                "fields": {f"field{place}" if place else "available_percent": 40.0 for place in range(10)},
                "timestamp": int(at),
            }
            for first in range(0, len(series), 10)
        ]
    return json.dumps({"metrics": metrics}).encode()


def _collectd(hosts: Sequence[int], at: float) -> bytes:
    lists = [
        {
            "values": [40.0],
            "dstypes": ["gauge"],
            "dsnames": ["value"],
            "time": at,
            "interval": SCRAPE_SECONDS,
            "host": f"web{host}",
            "plugin": "memory" if number < 5 else f"plugin{number % 50}",
            "plugin_instance": "",
            "type": "memory",
            "type_instance": f"free{number}" if number else "used",
        }
        for host in hosts
        for number in range(SERIES)
    ]
    return json.dumps(lists).encode()


REMOTE_WRITE = Format(
    "remote write 1.0", "/feed/prometheus", V1_HEADERS, lambda hosts, at: pack(write_v1(_all(hosts, at)))
)
FORMATS = (
    REMOTE_WRITE,
    Format("remote write 2.0", "/feed/prometheus", V2_HEADERS, lambda hosts, at: pack(write_v2(_all(hosts, at)))),
    Format("Telegraf's JSON", "/feed/telegraf", {}, _telegraf),
    Format("collectd's JSON", "/feed/collectd", {}, _collectd),
)


class Sender:
    """One connection in a closed loop."""

    def __init__(self, daemon: DaemonProcess, kind: Format) -> None:
        place = urlsplit(daemon.url)
        self._connection = HTTPConnection(place.hostname or "", place.port, timeout=60)
        self._path = kind.path
        self._headers = {**kind.headers, "X-API-Key": daemon.key}

    def send(self, body: bytes) -> None:
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200 or b'"rejected"' in text:
            raise RuntimeError(f"{answer.status} {text[:300]!r}")


def measure_formats(daemon: DaemonProcess, *, seconds: float) -> list[Row]:
    """Each format for some seconds: another scrape of the same twenty hosts in each round."""
    rows = []
    for kind in FORMATS:
        bodies, encoding = _prepare(kind)
        sender, sent = Sender(daemon, kind), 0
        used, began = _cpu_seconds(daemon), time.perf_counter()
        while time.perf_counter() - began < seconds:
            sender.send(bodies[sent % len(bodies)])
            sent += 1
        elapsed = time.perf_counter() - began
        samples = sent * PER_REQUEST
        rows.append(
            {
                "format": kind.name,
                "samples_per_second": samples / elapsed,
                "daemon_us": (_cpu_seconds(daemon) - used) / samples * 1e6,
                "sender_us": encoding / (len(bodies) * PER_REQUEST) * 1e6,
                "body_bytes": len(bodies[0]) / PER_REQUEST,
            }
        )
    tell("formats of collectors: done")
    return rows


def _prepare(kind: Format) -> tuple[list[bytes], float]:
    """Bodies, and the processor's seconds that it took to make them, with the objects that they are made of."""
    began = time.process_time()
    now = time.time()
    hosts = PER_REQUEST // SERIES
    bodies = [
        kind.encode(range(first, first + hosts), now - SCRAPE_SECONDS * back)
        for back in (2, 1, 0)
        for first in range(0, 20, hosts)
    ]
    return bodies, time.process_time() - began


def measure_fleet(daemon: DaemonProcess, *, hosts: int, rounds: int) -> Row:
    """Scrapes of a fleet one after the other, as fast as they are taken: what share of a core their pace would need."""
    encoding = daemon_cpu = sending = 0.0
    resident = []
    sender, now = Sender(daemon, REMOTE_WRITE), time.time()
    for number in range(rounds):
        at = now - SCRAPE_SECONDS * (rounds - number)
        for first in range(0, hosts, PER_REQUEST // SERIES):
            began = time.process_time()
            body = REMOTE_WRITE.encode(range(first, first + PER_REQUEST // SERIES), at)
            encoding += time.process_time() - began
            used, began = _cpu_seconds(daemon), time.perf_counter()
            sender.send(body)
            daemon_cpu += _cpu_seconds(daemon) - used
            sending += time.perf_counter() - began
        resident.append(daemon.resident_bytes() / 1e6)
        tell(f"fleet, scrape {number + 1} of {rounds}: done")
    samples = hosts * SERIES * rounds
    return {
        "fleet": f"{hosts:,} hosts, {SERIES:,} series each",
        "scrapes": rounds,
        "taken_per_second": samples / sending,
        "core_share": daemon_cpu / samples * FLEET_RATE,
        "sender_share": encoding / samples * FLEET_RATE,
        "first_mb": resident[0],
        "last_mb": resident[-1],
        "mb_per_scrape": (resident[-1] - resident[len(resident) // 2]) / max(rounds - 1 - len(resident) // 2, 1),
    }


def _cpu_seconds(daemon: DaemonProcess) -> float:
    assert daemon.process is not None
    times = psutil.Process(daemon.process.pid).cpu_times()
    return float(times.user + times.system)


def tables() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield (
        "Collectors' formats over HTTP, one connection, the daemon on one core",
        [
            ("format", "format"),
            ("samples_per_second", "samples/s"),
            ("daemon_us", "daemon's CPU µs a sample"),
            ("sender_us", "sender's encoding, µs a sample"),
            ("body_bytes", "bytes a sample"),
        ],
    )
    yield (
        f"Remote write of a fleet; shares of a core at {FLEET_RATE:,.0f} samples/s",
        [
            ("fleet", "fleet"),
            ("scrapes", "scrapes"),
            ("taken_per_second", "samples/s"),
            ("core_share", "daemon's share"),
            ("sender_share", "sender's encoding"),
            ("first_mb", "MB after the first"),
            ("last_mb", "MB after the last"),
            ("mb_per_scrape", "MB more a scrape, second half"),
        ],
    )
