from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from support.stub_daemon import StubDaemon, serve

from nordiq_watch.cli.agent import BUFFERED_SAMPLES, SAMPLES_PER_REQUEST, Agent, Sampler
from nordiq_watch.client import Client
from nordiq_watch.errors import DaemonRefused

pytestmark = pytest.mark.slow

ACCEPTED = (200, {"status": "accepted"})
BUSY = (503, {"error": "Busy", "detail": "the queue is full"})


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def agent(stub: StubDaemon, clock: Clock, said: list[str]) -> Agent:
    """Samples are numbered; the daemon takes all of them until a test says otherwise."""
    stub.answers["POST", "/feed/data"] = ACCEPTED
    numbers = itertools.count()
    return Agent(Client(stub.url, retries=0), lambda: {"n": next(numbers)}, clock=clock, say=said.append)


def received(stub: StubDaemon) -> Iterator[int]:
    """The numbers of the samples in the order in which they came, with repetitions."""
    for request in stub.requests:
        yield from (record["n"] for record in request.body["records"])


def test_each_step_sends_a_sample(agent: Agent, stub: StubDaemon) -> None:
    agent.step()
    agent.step()
    assert list(received(stub)) == [0, 1]
    assert agent.waiting == 0


def test_samples_wait_while_the_daemon_is_away(clock: Clock, said: list[str]) -> None:
    url = "http://127.0.0.1:1"  # nobody listens on tcpmux
    away = Agent(Client(url, retries=0), lambda: {"n": 0}, clock=clock, say=said.append)
    away.step()
    clock.seconds += 60
    away.step()
    assert away.waiting == 2
    assert len(said) == 1, "one line for one absence"
    assert url in said[0]


def test_what_waited_is_sent_when_the_daemon_is_back(
    agent: Agent, stub: StubDaemon, clock: Clock, said: list[str]
) -> None:
    stub.answers["POST", "/feed/data"] = [BUSY, ACCEPTED]
    agent.step()
    clock.seconds += 60
    agent.step()
    assert [request.body["records"] for request in stub.requests] == [[{"n": 0}], [{"n": 0}, {"n": 1}]]
    assert agent.waiting == 0
    assert said[-1] == f"{stub.url} takes samples again"


def test_a_real_outage_loses_nothing(clock: Clock, said: list[str]) -> None:
    stub = StubDaemon({("POST", "/feed/data"): ACCEPTED})
    numbers = itertools.count()
    with serve(stub):
        port = urlsplit(stub.url).port or 0
        agent = Agent(Client(stub.url, retries=0), lambda: {"n": next(numbers)}, clock=clock, say=said.append)
        agent.step()
    clock.seconds += 60
    agent.step()
    with serve(stub, port):
        clock.seconds += 60
        agent.step()
    assert list(received(stub)) == [0, 1, 2]


def test_the_daemon_is_asked_less_and_less_often(agent: Agent, stub: StubDaemon, clock: Clock) -> None:
    stub.answers["POST", "/feed/data"] = BUSY
    asked_at = []
    for second in range(1000):
        clock.seconds = second
        before = len(stub.requests)
        agent.step()
        if len(stub.requests) > before:
            asked_at.append(second)
    pauses = [after - before for before, after in itertools.pairwise(asked_at)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_after_an_absence_the_pause_starts_small_again(agent: Agent, stub: StubDaemon, clock: Clock) -> None:
    stub.answers["POST", "/feed/data"] = [BUSY, BUSY, ACCEPTED, BUSY, ACCEPTED]
    for second in (0, 1, 3, 4, 5):
        clock.seconds = second
        agent.step()
    assert agent.waiting == 0


def test_the_oldest_go_when_too_many_wait(agent: Agent, stub: StubDaemon, clock: Clock) -> None:
    stub.answers["POST", "/feed/data"] = [BUSY, ACCEPTED]
    for _ in range(BUFFERED_SAMPLES + 10):
        agent.step()
    clock.seconds += 60
    agent.step()
    kept = list(received(stub))[1:]
    assert kept == list(range(11, BUFFERED_SAMPLES + 11))


def test_many_samples_are_sent_in_several_requests(agent: Agent, stub: StubDaemon, clock: Clock) -> None:
    stub.answers["POST", "/feed/data"] = [BUSY, ACCEPTED]
    for _ in range(SAMPLES_PER_REQUEST + 1):
        agent.step()
    clock.seconds += 60
    agent.step()
    assert [len(request.body["records"]) for request in stub.requests] == [1, SAMPLES_PER_REQUEST, 2]


@pytest.mark.parametrize("status", [400, 401, 413])
def test_a_daemon_that_says_no_ends_the_agent(agent: Agent, stub: StubDaemon, status: int) -> None:
    stub.answers["POST", "/feed/data"] = (status, {"error": "no"})
    with pytest.raises(DaemonRefused):
        agent.step()


def test_samples_that_are_not_taken_are_given_up(agent: Agent, stub: StubDaemon, said: list[str]) -> None:
    stub.answers["POST", "/feed/data"] = [(422, {"error": "No valid record", "detail": "it is too old"}), ACCEPTED]
    agent.step()
    agent.step()
    assert said == ["No valid record: it is too old (HTTP 422)"]
    assert list(received(stub)) == [0, 1]


def test_a_limit_on_the_rate_is_waited_for(agent: Agent, stub: StubDaemon) -> None:
    stub.answers["POST", "/feed/data"] = (429, {"error": "Too many requests"})
    agent.step()
    assert agent.waiting == 1


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "2 samples were not taken"),
        ({"rejected_unnamed": 3}, "5 samples were not taken"),
        ({"values_left_out": 1}, "1 sample was not taken and 1 value was not taken"),
        ({"values_left_out": 2}, "2 values were not taken"),
    ],
)
def test_samples_and_values_that_are_not_taken_among_others_are_said(
    agent: Agent, stub: StubDaemon, said: list[str], more: dict[str, int], text: str
) -> None:
    refusal = {"index": 0, "field": "timestamp", "reason": "is older than the window"}
    answer = {"status": "accepted", "rejected": [refusal, refusal | {"index": 1}], **more}
    stub.answers["POST", "/feed/data"] = (200, answer)
    agent.step()
    assert said == [f"{text}; the first, timestamp: is older than the window"]


def test_a_sample_is_a_record_of_the_api() -> None:
    sample = Sampler("web01", clock=lambda: 1_736_935_200.0).sample()
    assert sample["timestamp"] == "2025-01-15T10:00:00+00:00"
    assert sample["server_name"] == "web01"
    assert all(isinstance(value, float) for name, value in sample.items() if name not in ("timestamp", "server_name"))


class TestCommand:
    def run(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "nordiq_watch", "agent", *arguments],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def test_once_sends_one_sample_of_this_host_and_shows_it(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/feed/data"] = ACCEPTED
        process = self.run("--once", "--name", "web01", "--url", stub.url)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")
        assert re.search(r"^mem_used_pct +\d", output, re.M)
        (record,) = stub.requests[0].body["records"]
        assert record["server_name"] == "web01"

    def test_once_without_a_daemon_says_so(self) -> None:
        process = self.run("--once", "--url", "http://127.0.0.1:1")
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert errors.startswith("error: no daemon answers at http://127.0.0.1:1 (connection refused)")
        assert errors.count("\n") == 1

    def test_once_with_a_refused_record_fails(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/feed/data"] = (422, {"error": "No valid record", "detail": "server_name: is too long"})
        process = self.run("--once", "--url", stub.url)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output) == (1, "")
        assert errors == "error: No valid record: server_name: is too long (HTTP 422)\n"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_it_cleanly(self, stub: StubDaemon, number: signal.Signals) -> None:
        stub.answers["POST", "/feed/data"] = ACCEPTED
        process = self.run("--interval", "3600", "--url", stub.url)
        assert process.stdout is not None
        assert "feeds" in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")

    def test_an_interval_that_is_none(self) -> None:
        process = self.run("--interval", "0")
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 2
        assert errors == (
            "error: argument --interval: 0 is not a number of seconds above 0. See `nordiq-watch agent --help`.\n"
        )
