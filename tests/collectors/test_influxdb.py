"""InfluxDB's own client for Python, and a sender that repeats what is not 2xx, as Telegraf's outputs.http does."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import requests
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import SYNCHRONOUS, WriteOptions
from influxdb_client.rest import ApiException
from support.daemon import DaemonProcess
from support.journals import last_values

from nordiq_watch.config.schema import DEFAULT_METRICS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("influx"), metrics=DEFAULT_METRICS) as daemon:
        yield daemon


def client_of(daemon: DaemonProcess, *, token: str | None = None, gzip: bool = False) -> InfluxDBClient:
    return InfluxDBClient(daemon.url, token=token or daemon.key, org="org", enable_gzip=gzip)


def memory(host: str, available: float) -> Point:
    point = Point("mem").tag("host", host).field("available_percent", available)  # type: ignore[no-untyped-call]
    return point.field("total", 1 << 40).field("note", 'a "text"')


@pytest.mark.parametrize("gzip", [False, True])
def test_points_that_the_client_writes_arrive(daemon: DaemonProcess, gzip: bool) -> None:
    host = f"web {gzip}=a,b"
    with client_of(daemon, gzip=gzip) as client:
        assert client.ping()
        client.write_api(write_options=SYNCHRONOUS).write("bucket", record=[memory(host, 40.0)])
    assert last_values(daemon, host) == {"mem_used_pct": 60.0}


def test_batches_that_the_client_writes_in_the_background_arrive(daemon: DaemonProcess) -> None:
    with client_of(daemon) as client:
        options = WriteOptions(batch_size=10, flush_interval=100)
        with client.write_api(write_options=options) as writer:
            for number in range(25):
                writer.write("bucket", record=memory(f"host{number}", float(number)))
    assert [last_values(daemon, f"host{number}")["mem_used_pct"] for number in range(25)] == [
        100.0 - number for number in range(25)
    ]


def test_a_wrong_key_is_told_to_the_client(daemon: DaemonProcess) -> None:
    with client_of(daemon, token="wrong") as client:
        assert not client.ping()
        with pytest.raises(ApiException) as caught:
            client.write_api(write_options=SYNCHRONOUS).write("bucket", record=memory("stranger", 1.0))
    assert caught.value.status == 401
    assert last_values(daemon, "stranger") == {}


def test_a_sender_that_repeats_all_but_2xx_gets_through(daemon: DaemonProcess) -> None:
    now = int(time.time())
    batches = [
        f"mem,host=a available_percent=10 {now}\nbroken\nmem,host=b available_percent=20 {now}",
        f"mem,host=c available_percent=30 {now - 10**8}",
        f"mem,host=d available_percent=40 {now + 10**6}",
        "\x00\x01\x02",
        "mem,host=e available_percent=many",
        f"mem,host=f available_percent=50 {now}",
    ]
    headers = {"Authorization": f"Token {daemon.key}"}
    for path in ("/write?db=telegraf&precision=s", "/api/v2/write?org=o&bucket=b&precision=s"):
        for batch in batches:
            answers: list[int] = []
            while not answers or not 200 <= answers[-1] < 300:
                assert len(answers) < 5, f"{batch!r} is repeated for ever: {answers}"
                answer = requests.post(f"{daemon.url}{path}", data=batch, headers=headers, timeout=60)
                answers.append(answer.status_code)
    found = {host: last_values(daemon, host).get("mem_used_pct") for host in "abcdef"}
    assert found == {"a": 90.0, "b": 80.0, "c": None, "d": None, "e": None, "f": 50.0}
