"""`nordiq-watch agent`: measures this host and feeds a daemon; the simplest real feeder.

While the daemon is away or busy, samples wait in a bounded buffer, which drops the oldest when full, and are sent later
with their own timestamps.
"""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from nordiq_watch.backoff import Backoff
from nordiq_watch.cli.parsers import Subparsers, add_command, add_connection, positive_seconds
from nordiq_watch.errors import DaemonAway, DaemonRefused

if TYPE_CHECKING:
    from nordiq_watch.api.feed import Fed
    from nordiq_watch.client.client import Client

DEFAULT_INTERVAL_SECONDS = 60.0
FIRST_INTERVAL_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
BUFFERED_SAMPLES = 1440  # a day of minutes, as long as the default window
SAMPLES_PER_REQUEST = 500
ANSWER_SECONDS = 10.0  # a stop waits for a request that is under way
UNPROCESSABLE = 422
TOO_MANY_REQUESTS = 429

Sample = dict[str, Any]

_EPILOG = """\
A sample is the mean since the one before: CPU, java (all its processes, in percent of the whole host) and traffic
(all interfaces but the loopback). Memory, swap, disk (of /), load (1 minute), uptime and CLOSE_WAIT sockets (front: on
a port where this host listens; back: the others) are as they are at that moment. What cannot be measured is left out.

examples:
  nordiq-watch agent --url http://watch.example.net:8000 --interval 60
  nordiq-watch agent --once                              one sample, shown, for a first look
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "agent", "measure this host and feed a daemon, until SIGTERM or SIGINT", _EPILOG)
    parser.add_argument(
        "--interval",
        type=positive_seconds,
        default=DEFAULT_INTERVAL_SECONDS,
        metavar="S",
        help="seconds between samples (default: %(default)g). Shorter than the daemon's window.interval_seconds, so "
        "that no slot stays empty",
    )
    parser.add_argument("--name", default=socket.gethostname(), help="server_name to send (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="send one sample, show it and end")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """0 after a signal. Raises DaemonRefused if the daemon rejects what this host sends."""
    from nordiq_watch.cli.connection import connect

    client = connect(args.url, key_file=args.key_file, config=args.config, answer_seconds=ANSWER_SECONDS)
    sampler = Sampler(args.name)
    stop = _stop_on_signals()
    stop.wait(FIRST_INTERVAL_SECONDS)
    if args.once:
        return _send_one(client, sampler.sample())
    print(f"agent: {args.name} feeds {client.url} every {args.interval:g} s", flush=True)
    agent = Agent(client, sampler.sample)
    while not stop.is_set():
        agent.step()
        stop.wait(args.interval)
    return 0


class Sampler:
    """Turns readings of this host into samples; each covers the time since the previous one."""

    def __init__(self, server_name: str, *, clock: Callable[[], float] = time.time) -> None:
        from nordiq_watch.cli import measurement

        self._host = measurement
        self._server_name = server_name
        self._clock = clock
        self._before = measurement.read_counters()

    def sample(self) -> Sample:
        now = self._host.read_counters()
        metrics = self._host.rates_between(self._before, now) | self._host.read_levels()
        self._before = now
        return {
            "timestamp": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            "server_name": self._server_name,
            **{name: round(value, 4) for name, value in metrics.items()},
        }


class Agent:
    """Takes one sample per step and sends what is buffered. `say` gets one line when the daemon goes away and when it
    returns.
    """

    def __init__(
        self,
        client: Client,
        sample: Callable[[], Sample],
        *,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = lambda line: print("agent:", line, file=sys.stderr, flush=True),
    ) -> None:
        self._client = client
        self._sample = sample
        self._clock = clock
        self._say = say
        self._waiting: deque[Sample] = deque(maxlen=BUFFERED_SAMPLES)
        self._backoff = Backoff(first_seconds=1.0, longest_seconds=LONGEST_PAUSE_SECONDS)
        self._try_again_at = -float("inf")

    @property
    def waiting(self) -> int:
        """Samples not yet accepted by the daemon."""
        return len(self._waiting)

    def step(self) -> None:
        """Takes a sample and tries to send it, unless the daemon was away a moment ago. Raises DaemonRefused."""
        self._waiting.append(self._sample())
        if self._clock() < self._try_again_at:
            return
        try:
            self._send_all()
        except DaemonAway as error:
            self._back_off(str(error))
        except DaemonRefused as error:
            if error.status != TOO_MANY_REQUESTS and error.status < 500:
                raise
            self._back_off(str(error))

    def _send_all(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, SAMPLES_PER_REQUEST))
            self._send(batch)
            for _ in batch:
                self._waiting.popleft()
        if self._backoff.pause_seconds:
            self._say(f"{self._client.url} takes samples again")
        self._backoff.reset()

    def _send(self, batch: list[Sample]) -> None:
        """Rejected samples are reported and dropped: they would be rejected again."""
        try:
            fed = self._client.feed(batch)
        except DaemonRefused as error:
            if error.status != UNPROCESSABLE:
                raise
            self._say(str(error))
            return
        if fed.rejected:
            self._say(_describe_rejected(fed))

    def _back_off(self, reason: str) -> None:
        if not self._backoff.pause_seconds:
            self._say(f"{reason}; keeping up to {BUFFERED_SAMPLES} samples for it")
        self._try_again_at = self._clock() + self._backoff.fail()


def _describe_rejected(fed: Fed) -> str:
    """How many samples and values were not taken, and the first of either."""
    values = fed.values_left_out
    samples = len(fed.rejected) + fed.rejected_unnamed - values
    counts = [
        f"{count} {noun} was not taken" if count == 1 else f"{count} {noun}s were not taken"
        for count, noun in ((samples, "sample"), (values, "value"))
        if count
    ]
    first = fed.rejected[0]
    return f"{' and '.join(counts)}; the first, {first.field}: {first.reason}"


def _send_one(client: Client, sample: Sample) -> int:
    fed = client.feed([sample])
    for name, value in sample.items():
        print(f"{name:18} {value}")
    print(f"{client.url}: {fed.status}")
    return 0


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
