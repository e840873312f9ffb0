"""What can never be taken ends at once for every sender, what may be taken later comes again: stubs that repeat as the
programs do (docs/collectors.md has the table), against the app behind the real server.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.daemon import wait_until
from support.remote_write import V1_HEADERS, V2_HEADERS, Sent, pack, write_v1, write_v2
from support.web_world import KEY, METRICS, NOW, BuildWorld, World

from nordiq_watch.api.sources import Drop
from nordiq_watch.config.schema import FeederSettings, ServerSettings
from nordiq_watch.host.http import HttpServer
from nordiq_watch.web.admission import Gate

WAIT_SECONDS = 60
MOST_TRIES = 4
"""After as many a sender that has not given up would go on for ever: nothing changes between them."""

FREE, TOTAL = "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Sender:
    """repeats: whether it sends a batch again after this answer. taken: the status of a batch that was taken whole."""

    path: str
    headers: Mapping[str, str]
    repeats: Callable[[Answer], bool]
    taken: int = 200

    def send(self, port: int, body: bytes, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        connection.request("POST", self.path, body, {"X-API-Key": KEY, **self.headers, **headers})
        response = connection.getresponse()
        body = json.loads(response.read() or "null")
        answer = Answer(response.status, response.headers, body)  # type: ignore[arg-type]
        connection.close()
        return answer

    def send_until_over(self, port: int, body: bytes, **headers: str) -> Answer:
        """As a queue does with its first batch: nothing behind it is sent before this returns."""
        for _ in range(MOST_TRIES):
            answer = self.send(port, body, **headers)
            if not self.repeats(answer):
                return answer
        raise AssertionError(f"{answer.status} is repeated for ever: {answer.body}")


def prometheus_repeats(answer: Answer, *, on_429: bool = False) -> bool:
    """storage/remote/client.go: recoverable is 5xx, and 429 with retry_on_http_429."""
    return answer.status // 100 == 5 or (answer.status == 429 and on_429)


def vmagent_repeats(answer: Answer) -> bool:
    """app/vmagent/remotewrite/client.go: blocks are dropped on 400 and 409."""
    return answer.status // 100 != 2 and answer.status not in (400, 409)


def telegraf_repeats(answer: Answer) -> bool:
    """plugins/outputs/http: every status but 2xx is an error, unless non_retryable_statuscodes has it."""
    return answer.status // 100 != 2


def collector_repeats(answer: Answer) -> bool:
    """OpenTelemetry's prometheusremotewrite exporter: 5xx and 429, all other answers are permanent."""
    return answer.status // 100 == 5 or answer.status == 429


def exporter_repeats(answer: Answer) -> bool:
    """The OTLP specification: 429, 502, 503 and 504 may be retried, all other answers must not be."""
    return answer.status in (429, 502, 503, 504)


def influxdb_repeats(answer: Answer) -> bool:
    """plugins/outputs/influxdb: 204 alone is a success; what else has an `error` with one of these phrases is dropped.
    Stricter than the program: all but 2xx is repeated whatever is said.
    """
    said = "" if answer.body is None else answer.body["error"]
    ends = answer.status == 204 or "partial write" in said or "unable to parse" in said
    return telegraf_repeats(answer) or not ends


REMOTE_WRITE = {
    "prometheus 2.42": Sender("/feed/prometheus", V1_HEADERS, prometheus_repeats),
    "prometheus 3 in 2.0": Sender("/feed/prometheus", V2_HEADERS, prometheus_repeats),
    "alloy": Sender("/feed/prometheus", V1_HEADERS, partial(prometheus_repeats, on_429=True)),
    "vmagent": Sender("/feed/prometheus", V1_HEADERS, vmagent_repeats),
    "opentelemetry collector": Sender("/feed/prometheus", V1_HEADERS, collector_repeats),
}
TELEGRAF = Sender("/feed/telegraf", {"Content-Type": "application/json"}, telegraf_repeats)
OTLP = Sender("/v1/metrics", {"Content-Type": "application/json"}, exporter_repeats)
INFLUX_V1 = Sender("/write?db=telegraf&consistency=any", {}, influxdb_repeats, taken=204)
INFLUX_V2 = Sender("/api/v2/write?bucket=b&org=o", {}, telegraf_repeats, taken=204)
SENDERS = {
    **REMOTE_WRITE,
    "telegraf": TELEGRAF,
    "otlphttp": OTLP,
    "telegraf's outputs.influxdb": INFLUX_V1,
    "telegraf's outputs.influxdb_v2": INFLUX_V2,
}


# --- blocks: for all formats the same content ---------------------------------------------------


@dataclass(frozen=True)
class Reading:
    server: str
    at: float
    free: float = 25.0
    name: str = "mem"
    labels: int = 0


def is_influx(sender: Sender) -> bool:
    return sender in (INFLUX_V1, INFLUX_V2)


def write_block(sender: Sender, readings: Sequence[Reading]) -> bytes:
    if sender is TELEGRAF:
        return json.dumps({"metrics": [as_metric(one) for one in readings]}).encode()
    if sender is OTLP:
        return json.dumps({"resourceMetrics": [as_resource(one) for one in readings]}).encode()
    if is_influx(sender):
        return "".join(as_line(one) for one in readings).encode()
    series = [one for reading in readings for one in as_series(reading)]
    return pack(write_v2(series) if sender.headers is V2_HEADERS else write_v1(series))


def as_series(one: Reading) -> Iterator[Sent]:
    names = {FREE: one.free, TOTAL: 100.0} if one.name == "mem" else {one.name: 1.0}
    more = {f"label{number:03}": "x" for number in range(one.labels)}
    for name, value in names.items():
        yield Sent({"__name__": name, "instance": one.server, **more}, [(one.at, value)])


def as_metric(one: Reading) -> dict[str, Any]:
    tags = {"host": one.server, **{f"label{number:03}": "x" for number in range(one.labels)}}
    return {"name": one.name, "tags": tags, "fields": {"available_percent": one.free}, "timestamp": one.at}


def as_line(one: Reading) -> str:
    tags = {"host": one.server} if one.server else {}  # a tag without a value cannot be written
    tags |= {f"label{number:03}": "x" for number in range(one.labels)}
    head = ",".join([one.name, *(f"{key}={text}" for key, text in tags.items())])
    return f"{head} available_percent={one.free} {int(one.at * 1e9)}\n"


def as_resource(one: Reading) -> dict[str, Any]:
    def attribute(key: str, text: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": text}}

    more = [attribute(f"label{number:03}", "x") for number in range(one.labels)]
    points = [
        {
            "attributes": [attribute("system.memory.state", state), *more],
            "asDouble": value,
            "timeUnixNano": str(int(one.at * 1e9)),
        }
        for state, value in (("used", 100.0 - one.free), ("free", one.free))
    ]
    name = "system.memory.usage" if one.name == "mem" else one.name
    metric = {"name": name, "sum": {"aggregationTemporality": 2, "dataPoints": points}}
    resource = {"attributes": [attribute("host.name", one.server)]}
    return {"resource": resource, "scopeMetrics": [{"metrics": [metric]}]}


@dataclass(frozen=True)
class Bad:
    """reason: as it is counted. written: the status for remote write. Telegraf's is always 200, OTLP has partial
    success for what can be read. As line protocol a batch that no rule knows is a success.
    """

    reason: Drop
    readings: Sequence[Reading] = ()
    body: bytes | None = None
    written: int = 400

    def body_for(self, sender: Sender) -> bytes:
        return write_block(sender, self.readings) if self.body is None else self.body

    def status_for(self, sender: Sender) -> int:
        if sender is OTLP:
            return 200 if self.readings and self.reason is not Drop.TOO_LARGE else 400
        if is_influx(sender):
            return 204 if self.reason is Drop.UNKNOWN_SERIES else 200
        return 200 if sender is TELEGRAF else self.written


BAD = {
    "older than the window": Bad(Drop.TOO_OLD, [Reading("web1", NOW - 172_800)]),
    "all from ahead": Bad(Drop.TOO_NEW, [Reading("web1", NOW + 172_800)]),
    "series that no rule knows": Bad(
        Drop.UNKNOWN_SERIES, [Reading("web1", NOW, name="jvm_memory_used_bytes")], written=200
    ),
    "line protocol where it is not read": Bad(
        Drop.UNREADABLE, body=b"cpu,host=web1 usage_idle=98.5 1738246000000000000\n"
    ),
    "an empty body": Bad(Drop.UNREADABLE, body=b""),
    "too many records": Bad(Drop.TOO_LARGE, [Reading(f"web{number}", NOW) for number in range(260)]),
    "too many bytes": Bad(Drop.TOO_LARGE, body=b" " * 150_000),
    "a name that no server can have": Bad(Drop.BAD_NAME, [Reading("*", NOW)]),
    "a value that the metric cannot be": Bad(Drop.OUT_OF_RANGE, [Reading("web1", NOW, free=-900.0)], written=200),
    "too many labels": Bad(Drop.TOO_MANY_LABELS, [Reading("web1", NOW, labels=101)], written=200),
    "no server": Bad(Drop.NO_SERVER_NAME, [Reading("", NOW)], written=200),
}


CASES = {
    f"{kind}-{name}": (sender, bad)
    for name, bad in BAD.items()
    for kind, sender in SENDERS.items()
    if not (is_influx(sender) and bad.reason is Drop.UNREADABLE)  # of lines only what is packed wrong is
}
PARTS = {
    name: (sender, bad) for name, (sender, bad) in CASES.items() if bad.readings and bad.reason is not Drop.TOO_LARGE
}


def is_told(sender: Sender, bad: Bad, body: dict[str, Any] | None) -> bool:
    """Whether an answer has words about what was not taken. What no rule knows is no fault to all of them."""
    if body is None:
        return is_influx(sender) and bad.reason is Drop.UNKNOWN_SERIES
    left_out = ("rejected", "series_unknown", "passed_over", "series_left_out", "values_left_out", "partialSuccess")
    return any(body.get(name) for name in (*left_out, "detail", "message"))


@dataclass
class Site:
    world: World
    port: int

    def memory_of(self, server: str) -> float | None:
        """The newest value in the window, percent."""
        snapshot = self.world.services.ingest.window.snapshot()
        if server not in snapshot.servers:
            return None
        return float(snapshot.values[snapshot.servers.index(server), -1, METRICS.index("mem_used_pct")])

    def dropped(self) -> dict[Drop, int]:
        (source,) = self.world.services.ingest.sources.describe().sources
        return {one.reason: one.count for one in source.dropped}


@pytest.fixture
def site(build_world: BuildWorld) -> Iterator[Site]:
    settings = ServerSettings(port=0, threads=2, max_body_mb=0.1)
    world = build_world(server=settings, feeders=FeederSettings(max_records=250))
    server = HttpServer(world.app, settings, admit=Gate(world.app, world.services))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield Site(world, server.port)
    server.stop()
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()


@pytest.mark.parametrize(("sender", "bad"), CASES.values(), ids=CASES)
def test_what_can_never_be_taken_does_not_hold_up_what_stands_behind_it(site: Site, sender: Sender, bad: Bad) -> None:
    first = write_block(sender, [Reading("known", NOW)])
    assert sender.send_until_over(site.port, first).status == sender.taken
    refused = sender.send_until_over(site.port, bad.body_for(sender))
    assert refused.status == bad.status_for(sender)
    assert site.dropped()[bad.reason] > 0
    assert is_told(sender, bad, refused.body), refused.body
    assert sender.send_until_over(site.port, write_block(sender, [Reading("good", NOW)])).status == sender.taken
    assert site.memory_of("good") == 75.0


@pytest.mark.parametrize(("sender", "bad"), PARTS.values(), ids=PARTS)
def test_a_batch_that_is_taken_in_part_is_2xx_and_says_what_was_left_out(site: Site, sender: Sender, bad: Bad) -> None:
    answer = sender.send(site.port, write_block(sender, [*bad.readings, Reading("good", NOW)]))
    assert (answer.status // 100, site.memory_of("good")) == (2, 75.0)
    assert not sender.repeats(answer)
    told = is_told(sender, bad, answer.body)
    assert told or (sender is OTLP and bad.reason is Drop.UNKNOWN_SERIES), answer.body
    assert site.dropped()[bad.reason] > 0


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_what_may_be_taken_later_is_repeated_and_arrives(site: Site, sender: Sender, tmp_path: Path) -> None:
    assert sender.send(site.port, write_block(sender, [Reading("known", NOW)])).status == sender.taken
    block = write_block(sender, [Reading("good", NOW)])
    state, away = tmp_path / "state", tmp_path / "away"
    state.rename(away)
    state.touch()  # nothing can be written there
    for _ in range(2):
        answer = sender.send(site.port, block)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert sender.repeats(answer)
    state.unlink()
    away.rename(state)
    wait_until(lambda: sender.send(site.port, block).status == sender.taken, what="the block that was repeated")
    assert site.memory_of("good") == 75.0
    (source,) = site.world.services.ingest.sources.describe().sources
    assert source.postponed >= 2
    assert (source.batches, source.dropped) == (2, [])


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_a_stopping_daemon_is_asked_again_by_all(site: Site, sender: Sender) -> None:
    site.world.services.ingest.worker.stop()
    answer = sender.send(site.port, write_block(sender, [Reading("good", NOW)]))
    assert (answer.status, sender.repeats(answer)) == (503, True)


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity", "br"])
def test_another_packing_ends_as_well(site: Site, sender: Sender, encoding: str) -> None:
    bad = sender.send_until_over(site.port, b"packed otherwise", **{"Content-Encoding": encoding})
    assert bad.status in (200, 400, 415)
    is_a_bad_line = is_influx(sender) and encoding == "identity"
    assert site.dropped() == {Drop.INVALID if is_a_bad_line else Drop.UNREADABLE: 1}


@pytest.mark.parametrize("sender", SENDERS.values(), ids=SENDERS)
def test_a_body_at_which_the_daemon_fails_is_not_sent_for_ever(
    site: Site, sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        for name in ("feed.read_remote_write", "feed.read_telegraf", "otlp.series_of", "influx.read_lines"):
            patched.setattr(f"nordiq_watch.web.{name}", fail)
        sender.send_until_over(site.port, write_block(sender, [Reading("web1", NOW)]))
    assert site.dropped() == {Drop.INTERNAL: 1}
    assert any(record.exc_info for record in caplog.records)
    assert sender.send_until_over(site.port, write_block(sender, [Reading("good", NOW)])).status == sender.taken


def test_the_table_of_the_docs_names_every_sender() -> None:
    page = (Path(__file__).parents[2] / "docs" / "collectors.md").read_text(encoding="utf-8")
    table = page.partition("## What an answer does to a sender")[2].partition("\n## ")[0].lower()
    assert "| what was sent | remote write | telegraf | otlp | influxdb |" in table
    for name in (
        "prometheus 2.42",
        "prometheus 3",
        "alloy",
        "vmagent",
        "opentelemetry collector",
        "telegraf, `outputs.http`",
        "telegraf, `outputs.influxdb`",
        "telegraf, `outputs.influxdb_v2`",
        "influxdb's clients",
    ):
        assert name in table, name
