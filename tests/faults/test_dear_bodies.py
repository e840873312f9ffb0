"""Small bodies that unpack to millions of records, by a key of the role feed: others are answered all the same."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cramjam
import psutil
import pytest
import requests
from support.daemon import DaemonProcess
from support.remote_write import V2_HEADERS

pytestmark = pytest.mark.slow

AT_ONCE = 8


def zipped(head: bytes, unit: bytes, count: int) -> bytes:
    return gzip.compress(head + unit * count + unit[:-1] + b"]}")


def nested(*tags: int, unit: bytes, count: int) -> bytes:
    """A protobuf message of messages, each with the number of its field, around so many of the innermost."""
    message = unit * count
    for tag in reversed(tags):
        message = bytes([tag << 3 | 2]) + _varint(len(message)) + message
    return gzip.compress(message)


def _varint(number: int) -> bytes:
    head, rest = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + _varint(rest) if rest else bytes([head])


OTLP_JSON = "/v1/metrics in JSON"
SCOPES = b'{"resourceMetrics":[{"scopeMetrics":['
ATTRIBUTES = b'{"resourceMetrics":[{"resource":{"attributes":['
V2 = "/feed/prometheus in 2.0"
BODIES: dict[str, tuple[str, str, Callable[[], bytes], int]] = {
    "empty records": ("/feed/data", "gzip", lambda: zipped(b'{"records":[', b"{},", 5_300_000), 413),
    "numbers": ("/feed/data", "gzip", lambda: zipped(b'{"records":[', b"1,", 7_900_000), 413),
    "bad records": ("/feed/data", "gzip", lambda: zipped(b'{"records":[', b"{},", 99_999), 422),
    "metrics": ("/feed/telegraf", "gzip", lambda: zipped(b'{"metrics":[', b"{},", 5_300_000), 200),
    "series": ("/feed/prometheus", "snappy", lambda: bytes(cramjam.snappy.compress_raw(b"\x0a\x00" * 7_950_000)), 400),
    "series of 2.0": (V2, "snappy", lambda: bytes(cramjam.snappy.compress_raw(b"\x2a\x00" * 7_950_000)), 400),
    "resources": ("/v1/metrics", "gzip", lambda: nested(unit=b"\x0a\x00", count=7_950_000), 400),
    "scopes": ("/v1/metrics", "gzip", lambda: nested(1, unit=b"\x12\x00", count=7_950_000), 400),
    "metrics of OTLP": ("/v1/metrics", "gzip", lambda: nested(1, 2, unit=b"\x12\x00", count=7_950_000), 400),
    "points": ("/v1/metrics", "gzip", lambda: nested(1, 2, 2, 5, unit=b"\x0a\x00", count=7_950_000), 400),
    "attributes": ("/v1/metrics", "gzip", lambda: nested(1, 1, unit=b"\x0a\x00", count=7_950_000), 200),
    "labels of a point": ("/v1/metrics", "gzip", lambda: nested(1, 2, 2, 5, 1, unit=b"\x3a\x00", count=7_950_000), 200),
    "resources in JSON": (OTLP_JSON, "gzip", lambda: zipped(b'{"resourceMetrics":[', b"{},", 5_300_000), 400),
    "scopes in JSON": (OTLP_JSON, "gzip", lambda: gzip.compress(SCOPES + b"{}," * 5_300_000 + b"{}]}]}"), 400),
    "attributes in JSON": (OTLP_JSON, "gzip", lambda: gzip.compress(ATTRIBUTES + b"{}," * 5_300_000 + b"{}]}}]}"), 400),
    "lines": ("/write", "gzip", lambda: gzip.compress(b"m a=1\n" * 2_600_000), 200),
    "bad lines": ("/write", "gzip", lambda: gzip.compress(b"m\n" * 7_950_000), 200),
    "empty lines": ("/write", "gzip", lambda: gzip.compress(b"\n" * 15_900_000), 204),
    "comments": ("/write", "gzip", lambda: gzip.compress(b"#\n" * 7_950_000), 204),
    "tags": ("/write", "gzip", lambda: gzip.compress(b"m" + b",a=b" * 3_900_000 + b" a=1"), 200),
    "fields": ("/write", "gzip", lambda: gzip.compress(b"m a=1" + b",a=1" * 3_900_000), 200),
    "symbols": (V2, "snappy", lambda: bytes(cramjam.snappy.compress_raw(b"\x22\x00" * 7_950_000)), 400),
}

WITHOUT_SAMPLES = ("attributes", "attributes in JSON", "empty lines", "comments")
KINDS = {
    V2: V2_HEADERS,
    "/v1/metrics": {"Content-Type": "application/x-protobuf"},
    OTLP_JSON: {"Content-Type": "application/json"},
    "/write": {"Content-Type": "text/plain"},
}

MEMORY_BYTES = 400 * 2**20
"""Of eight at once: the body of each, twice while it is unpacked, and little more. It was 3.5 GB."""
CPU_SECONDS = 10.0
"""Of eight at once. It was 90, and 280 for series."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("dear"), metrics=["cpu_user_pct"]) as daemon:
        yield daemon


def cpu_seconds(daemon: DaemonProcess) -> float:
    assert daemon.process is not None
    times = psutil.Process(daemon.process.pid).cpu_times()
    return float(times.user + times.system)


def peak_bytes(daemon: DaemonProcess) -> int:
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("name", BODIES)
def test_eight_of_them_cost_little(daemon: DaemonProcess, name: str) -> None:
    way, encoding, make, status = BODIES[name]
    path, headers = way.split()[0], {**KINDS.get(way, {}), "Content-Encoding": encoding}
    body = make()
    assert daemon.process is not None
    Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5")  # the peak begins here
    memory, cpu = peak_bytes(daemon), cpu_seconds(daemon)

    def send(_: int) -> int:
        return daemon.request("POST", path, data=body, headers=headers).status_code

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = pool.map(send, range(AT_ONCE))
        good = daemon.feed([{"timestamp": time.time(), "server_name": "web1", "cpu_user_pct": 1.0}])
        assert good["records_received"] == 1
        assert requests.get(f"{daemon.url}/health", timeout=30).ok
        assert list(answers) == [status] * AT_ONCE
    assert peak_bytes(daemon) - memory < MEMORY_BYTES
    assert cpu_seconds(daemon) - cpu < CPU_SECONDS
    assert len(body) < 1_000_000
    assert "Traceback" not in daemon.log
    refused = daemon.request("GET", "/metrics").text
    assert status == 422 or name in WITHOUT_SAMPLES or f'reason="records",route="{path}"' in refused
    assert json.loads(daemon.request("GET", "/status").text)["servers_tracked"] == 1


def test_names_beyond_the_room_for_them_cost_no_more_than_others(tmp_path: Path) -> None:
    """The key's holder chooses how many are made up. It took a time that grew with their square, in the one thread
    that takes all samples: 16 s for twice as many names as there is room for.
    """
    with DaemonProcess(tmp_path, metrics=["cpu_user_pct"]) as daemon:
        now = time.time()
        records = [
            {"timestamp": now, "server_name": f"made-up-{number}", "cpu_user_pct": 1.0} for number in range(60_000)
        ]
        before = cpu_seconds(daemon)
        answer = daemon.post("/feed/data", json={"records": records})
        assert (answer["servers_tracked"], answer["servers_refused"]) == (20_000, 40_000)
        assert cpu_seconds(daemon) - before < CPU_SECONDS
