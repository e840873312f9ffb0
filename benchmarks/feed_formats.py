"""What collectors' own formats cost the daemon, beside what they cost a sender; and a fleet of node_exporters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
from common import Row, Target, median, tell
from feed_encoders import FORMATS, REMOTE_WRITE, SERIES, Format
from support.daemon import DaemonProcess

PER_REQUEST = 2_000
"""Samples: what Prometheus 3 sends at once, unless told otherwise."""

SCRAPE_SECONDS = 15.0
FLEET_HOSTS = 1_000
FLEET_RATE = FLEET_HOSTS * SERIES / SCRAPE_SECONDS
FLEET_WINDOW = {"interval_seconds": 60, "lateness_seconds": 60}
"""Slots close while the fleet sends, so that what is let go of is seen."""

_HOSTS = 20  # of each format
_MOST_SCRAPES = 100
_HOSTS_PER_REQUEST = PER_REQUEST // SERIES


@dataclass(slots=True)
class Costs:
    """Of the samples sent so far, in seconds: of the sender's processor, of the daemon's, and until the answers."""

    encoding: float = 0.0
    daemon: float = 0.0
    sending: float = 0.0
    samples: int = 0
    bytes: int = 0


class Sender:
    """One connection; each request waits for the answer to the one before."""

    def __init__(self, daemon: DaemonProcess, kind: Format) -> None:
        assert daemon.process is not None
        place = urlsplit(daemon.url)
        self._process = psutil.Process(daemon.process.pid)
        self._connection = HTTPConnection(place.hostname or "", place.port, timeout=60)
        self._kind = kind
        self._headers = {**kind.headers, "X-API-Key": daemon.key}

    def scrape(self, hosts: range, at: float, costs: Costs) -> None:
        """Sends one scrape of these hosts, two hosts a request."""
        for first in range(hosts.start, hosts.stop, _HOSTS_PER_REQUEST):
            began = time.process_time()
            body = self._kind.encode(range(first, first + _HOSTS_PER_REQUEST), at)
            costs.encoding += time.process_time() - began
            used, began = self._cpu_seconds(), time.perf_counter()
            self._send(body)
            costs.sending += time.perf_counter() - began
            costs.daemon += self._cpu_seconds() - used
            costs.samples += PER_REQUEST
            costs.bytes += len(body)

    def _send(self, body: bytes) -> None:
        self._connection.request("POST", self._kind.path, body, self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 204) or b"rejected" in text or b"left out" in text:
            raise RuntimeError(f"{self._kind.name}: {answer.status} {text[:300]!r}")

    def _cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def measure_formats(daemon: DaemonProcess, *, seconds: float) -> list[Row]:
    """Each format from twenty hosts of its own, scrape by scrape, until sending took some seconds."""
    rows = []
    for place, kind in enumerate(FORMATS):
        sender, costs = Sender(daemon, kind), Costs()
        hosts = range(place * _HOSTS, (place + 1) * _HOSTS)
        begin = time.time() - SCRAPE_SECONDS * _MOST_SCRAPES
        sender.scrape(hosts, begin, Costs())  # the series are new; from here on they are known
        for number in range(1, _MOST_SCRAPES):
            sender.scrape(hosts, begin + number * SCRAPE_SECONDS, costs)
            if costs.sending >= seconds:
                break
        rows.append(
            {
                "format": kind.name,
                "samples_per_second": costs.samples / costs.sending,
                "daemon_us": costs.daemon / costs.samples * 1e6,
                "sender_us": costs.encoding / costs.samples * 1e6,
                "body_bytes": costs.bytes / costs.samples,
            }
        )
    tell("formats of collectors: done")
    return rows


def measure_fleet(daemon: DaemonProcess, *, hosts: int, rounds: int) -> Row:
    """Scrapes of a fleet one after the other, as fast as they are taken: what share of a core their pace would need."""
    sender, costs, resident = Sender(daemon, REMOTE_WRITE), Costs(), []
    for number in range(rounds):
        sender.scrape(range(hosts), time.time(), costs)
        resident.append(daemon.resident_bytes() / 1e6)
        tell(f"fleet, scrape {number + 1} of {rounds}: done")
    middle = median(resident[rounds // 3 : 2 * rounds // 3])
    return {
        "fleet": f"{hosts:,} hosts, {SERIES:,} series each",
        "scrapes": rounds,
        "taken_per_second": costs.samples / costs.sending,
        "core_share": costs.daemon / costs.samples * FLEET_RATE,
        "sender_share": costs.encoding / costs.samples * FLEET_RATE,
        "first_mb": resident[0],
        "middle_mb": middle,
        "last_mb": resident[-1],
        "growth_pct": 100 * (resident[-1] / middle - 1),
    }


def targets_of_fleet(fleet: Row) -> list[Target]:
    return [
        Target(f"share of a core for {FLEET_RATE:,.0f} samples/s of remote write", fleet["core_share"], 1.0),
        Target("memory under remote write, second third to the end, % more", fleet["growth_pct"], 5.0),
    ]


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
            ("middle_mb", "in the second third"),
            ("last_mb", "after the last"),
            ("growth_pct", "% more than in the second third"),
        ],
    )
