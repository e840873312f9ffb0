"""The register of sources: what it remembers of a sender, within which bounds, and what the log says."""

from __future__ import annotations

import logging
import threading

import pytest

from nordiq_watch.api.sources import Drop, Dropped, FeedFormat, Source
from nordiq_watch.ingest.delivery import EXAMPLES, MAX_NAMES, Delivery, Sender
from nordiq_watch.ingest.sources import SourceRegister

NOW = 1_738_246_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def sender(address: str = "10.0.0.5", *, kind: FeedFormat = FeedFormat.PROMETHEUS) -> Sender:
    return Sender.of(kind, key="first", address=address, user_agent="Prometheus/2.42.0")


def delivery(address: str = "10.0.0.5", *, received: int = 0, unknown: tuple[str, ...] = (), **drops: int) -> Delivery:
    made = Delivery(sender(address))
    made.note_received(received + len(unknown))
    for name in unknown:
        made.note_unknown(name)
    for reason, count in drops.items():
        made.note_dropped(Drop(reason), count, example=f"one that is {reason}")
    return made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def register(clock: Clock) -> SourceRegister:
    return SourceRegister(clock=clock, most=3)


def only(register: SourceRegister) -> Source:
    (source,) = register.describe().sources
    return source


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return told


def test_a_source_is_the_sum_of_its_batches(register: SourceRegister, clock: Clock) -> None:
    first = delivery(received=10, unknown=("go_threads", "up"), too_old=3)
    first.note_taken(7)
    first.note_moment(NOW - 40)
    first.note_moment(NOW - 90)
    register.note(first)
    clock.now += 30
    second = delivery(received=5, unknown=("up",), too_old=1)
    second.note_moment(NOW - 100)
    register.note(second)
    assert only(register) == Source(
        format=FeedFormat.PROMETHEUS,
        key="first",
        address="10.0.0.5",
        user_agent="Prometheus/2.42.0",
        first_heard="2025-01-30T14:06:40+00:00",
        last_heard="2025-01-30T14:07:10+00:00",
        batches=2,
        postponed=0,
        unit="series",
        received=18,
        received_per_minute=18.0,
        taken=7,
        unknown_names=["go_threads", "up"],
        dropped=[
            Dropped(Drop.TOO_OLD, 4, "2025-01-30T14:07:10+00:00", "one that is too_old"),
            Dropped(Drop.UNKNOWN_SERIES, 3, "2025-01-30T14:07:10+00:00", "up"),
        ],
        newest_sample="2025-01-30T14:06:00+00:00",
        late_seconds=130.0,
    )


def test_what_comes_again_is_not_counted_now(register: SourceRegister) -> None:
    postponed = delivery(received=10, too_old=3)
    postponed.postpone()
    register.note(postponed)
    source = only(register)
    assert (source.postponed, source.batches, source.received, source.dropped) == (1, 0, 0, [])
    assert register.received()[FeedFormat.PROMETHEUS] == 0


def test_senders_are_told_apart_and_bounded_and_the_totals_stay(register: SourceRegister, clock: Clock) -> None:
    for number in range(5):
        clock.now += 1
        register.note(delivery(f"10.0.0.{number}", received=2, too_old=1))
        register.note(delivery("10.0.0.0", received=1))
    described = register.describe()
    assert [source.address for source in described.sources] == ["10.0.0.0", "10.0.0.4", "10.0.0.3"]
    assert (described.count, register.count, described.forgotten) == (3, 3, 2)
    assert register.received() == {kind: 15 if kind is FeedFormat.PROMETHEUS else 0 for kind in FeedFormat}
    assert register.dropped()[FeedFormat.PROMETHEUS, Drop.TOO_OLD] == 5
    assert len(register.dropped()) == len(FeedFormat) * len(Drop)


def test_what_a_sender_says_about_itself_is_short_and_can_be_seen(register: SourceRegister) -> None:
    made = Delivery(Sender.of(FeedFormat.OTLP, key=None, address=None, user_agent="evil\x1b[2J\n" + "x" * 1000))
    for number in range(1000):
        made.note_unknown(f"name_{number}\n" + "y" * 1000)
    made.note_received(1000)
    register.note(made)
    source = only(register)
    assert len(source.user_agent) == 120
    assert source.user_agent.isprintable()
    assert len(source.unknown_names) == MAX_NAMES
    assert all(len(name) <= 120 and name.isprintable() for name in source.unknown_names)
    assert len(made.examples_of_unknown()) == EXAMPLES


def test_the_rate_is_of_the_last_minutes(register: SourceRegister, clock: Clock) -> None:
    for _ in range(20):
        register.note(delivery(received=10))
        clock.now += 30
    assert only(register).received_per_minute == pytest.approx(20.0, rel=0.1)
    clock.now += 600
    assert only(register).received_per_minute == 0.0


def test_a_source_of_which_nothing_is_known_is_told_with_its_first_batch_and_then_hourly(
    register: SourceRegister, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("system_cpu_time_seconds_total", "system_memory_usage_bytes")
    register.note(delivery(unknown=names))
    assert lines(caplog) == [
        "2 series of prometheus at 10.0.0.5 (Prometheus/2.42.0) came, no rule knows any of them, e.g. "
        "system_cpu_time_seconds_total, system_memory_usage_bytes; see docs/collectors.md"
    ]
    for _ in range(59):
        clock.now += 60
        register.note(delivery(unknown=names))
    assert lines(caplog) == []
    clock.now += 60
    register.note(delivery(unknown=names))
    (line,) = lines(caplog)
    assert line.startswith("120 series of prometheus at 10.0.0.5")
    register.note(delivery("10.0.0.6", unknown=names))
    assert len(lines(caplog)) == 1, "another source"


def test_unknown_series_among_known_ones_are_no_line(
    register: SourceRegister, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        register.note(delivery(received=3, unknown=("go_threads",)))
        register.note(delivery(unknown=("go_threads",)))  # a batch of its own, of the same scrape
        clock.now += 1800
    assert lines(caplog) == []
    assert only(register).dropped[0].count == 10


def test_the_log_takes_back_that_nothing_is_known(register: SourceRegister, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    register.note(delivery(unknown=("go_threads",)))
    assert "no rule knows any of them" in caplog.text
    caplog.clear()
    for _ in range(3):
        register.note(delivery(received=3))
    assert [record.getMessage() for record in caplog.records] == [
        "prometheus at 10.0.0.5 (Prometheus/2.42.0): series that a rule knows come now"
    ]


def test_every_reason_is_told_at_once_and_then_hourly_even_if_the_source_fell_silent(
    register: SourceRegister, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    register.note(delivery(received=5, too_old=2, bad_name=1, clipped=4, loopback=7))
    told = lines(caplog)
    assert len(told) == 2
    assert told[0] == (
        "dropped from prometheus at 10.0.0.5 (Prometheus/2.42.0): 2 series (too_old): older than the window: it can "
        "never be taken, e.g. one that is too_old"
    )
    assert "(bad_name)" in told[1]
    register.note(delivery(received=5, too_old=2000))
    register.note(delivery(unreadable=1))
    assert [line.split(": ")[1] for line in lines(caplog)] == ["1 batch (unreadable)"]
    register.tell_due()
    assert lines(caplog) == []
    clock.now += 3600
    register.tell_due()
    (line,) = lines(caplog)
    assert ": 2,000 series (too_old): " in line
    register.tell_due()
    assert lines(caplog) == []


def test_many_senders_do_not_fill_the_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    register = SourceRegister(clock=clock, most=1000)
    for number in range(1000):
        register.note(delivery(f"10.0.{number // 250}.{number % 250}", too_old=1))
    assert len(lines(caplog)) == 60


def test_threads_lose_no_count() -> None:
    register = SourceRegister()

    def send(address: str) -> None:
        for _ in range(200):
            register.note(delivery(address, received=1, unknown=("up",)))
            register.describe()

    threads = [threading.Thread(target=send, args=(f"10.0.0.{number % 2}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert register.received()[FeedFormat.PROMETHEUS] == 1600
    assert [source.batches for source in register.describe().sources] == [400, 400]
