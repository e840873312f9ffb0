from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import METRICS, Sample, make_batch, samples_of
from support.daemon import wait_until
from support.fake_model import fake_servable
from support.serving import serving_of

from nordiq_watch.errors import Busy, StorageError
from nordiq_watch.events import BatchAccepted, EventBus, WindowChanged
from nordiq_watch.ingest.backfill import Backfill
from nordiq_watch.ingest.ingest import Ingest, IngestResult
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

LENGTH = 12


class WatchedJournal(Journal):
    """A real journal that counts the samples of its transactions and can be told to fail or to wait."""

    groups: list[int]
    failure: StorageError | None = None
    gate: Callable[[], None] = staticmethod(lambda: None)

    def append(self, batches: Sequence[Batch], *, ended: Mapping[str, int] | None = None) -> None:
        self.gate()
        if self.failure is not None:
            raise self.failure
        super().append(batches, ended=ended)
        self.groups = [*getattr(self, "groups", []), sum(len(batch.rows) for batch in batches)]


@dataclass
class Entrance:
    """An ingest with its real surroundings."""

    path: Path
    max_servers: int = 1000
    timeout_seconds: float = 10.0
    queue_size: int = 64
    live: Live = field(default_factory=Live)
    accepted: list[BatchAccepted] = field(default_factory=list)
    wakes: int = 0

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        """Starts over on the same journal, as a restart does."""
        events = EventBus()
        events.subscribe(BatchAccepted, self.accepted.append)
        events.subscribe(WindowChanged, lambda _: self.wake())
        self.journal = WatchedJournal(self.path, metrics=METRICS, interval_seconds=300)
        self.window = Window(
            METRICS, interval_seconds=300, length=LENGTH, max_servers=self.max_servers, silent_seconds=900
        )
        archive = Archive(self.path.parent / "archive", metrics=METRICS, interval_seconds=300, days=2)
        self.sample_store = SampleStore(self.journal, archive, self.window, future_seconds=300)
        self.ingest = Ingest(
            self.sample_store,
            self.window,
            events,
            live=self.live,
            backfill=Backfill(self.sample_store, self.window, archive),
            timeout_seconds=self.timeout_seconds,
            queue_size=self.queue_size,
        )
        self.ingest.restore()

    def wake(self) -> None:
        self.wakes += 1

    def feed(self, *samples: Sample, rejected: int = 0, clipped: int = 0) -> IngestResult:
        return self.feed_all([make_batch(samples)], rejected=rejected, clipped=clipped)[0]

    def feed_all(self, batches: Sequence[Batch], *, rejected: int = 0, clipped: int = 0) -> list[IngestResult]:
        """Submits all at once, each from its own thread, takes them in one step, in the order of the list."""
        with ThreadPoolExecutor(max(1, len(batches))) as pool:
            answers = []
            for count, batch in enumerate(batches, start=1):
                answers.append(pool.submit(self.ingest.submit, batch, rejected=rejected, clipped=clipped))
                self.await_waiting(count)
            self.ingest.step()
            return [answer.result() for answer in answers]

    def await_waiting(self, count: int) -> None:
        """Until so many requests are in the queue."""
        wait_until(lambda: self.ingest.waiting >= count, what=f"{count} requests in the queue")

    def slots(self) -> list[list[tuple[str, int]]]:
        return [[(sample.server, sample.slot) for sample in samples_of(batch)] for batch in self.journal.replay(0)]


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    return Entrance(tmp_path / "journal.db")


@contextmanager
def running(ingest: Ingest) -> Iterator[None]:
    thread = threading.Thread(target=ingest.run)
    thread.start()
    try:
        yield
    finally:
        ingest.stop()
        thread.join(20)
        assert not thread.is_alive()


# --- the way in ---


def test_a_batch_is_in_journal_and_window_before_it_is_answered(entrance: Entrance) -> None:
    result = entrance.feed(Sample("a", 1), Sample("b", 1), rejected=2, clipped=3)
    assert entrance.slots() == [[("a", 1), ("b", 1)]]
    assert entrance.window.snapshot().servers == ("a", "b")
    assert (result.tick, result.window_size, result.servers_tracked, result.refused) == (1, 2, 2, ())
    assert entrance.accepted == [BatchAccepted(records=2, rejected=2, clipped=3)]
    assert entrance.wakes == 1


def test_all_that_wait_share_one_transaction_in_the_order_of_arrival(entrance: Entrance) -> None:
    batches = [make_batch([Sample("a", slot, {"cpu_user_pct": float(slot)})]) for slot in (3, 1, 2)]
    results = entrance.feed_all(batches)
    assert entrance.journal.groups == [3]
    assert entrance.slots() == [[("a", 3), ("a", 1), ("a", 2)]]
    assert [result.tick for result in results] == [1, 2, 3]
    assert {result.window_size for result in results} == {3}
    assert entrance.wakes == 1
    assert len(entrance.accepted) == 3


def test_readiness_is_that_of_the_live_model(entrance: Entrance) -> None:
    servable, _ = fake_servable(max_encoder_length=4)  # two samples of cpu
    warm = [Sample("warm", slot) for slot in (1, 2)]
    other = [Sample("other", slot, {"mem_used_pct": 1.0}) for slot in (1, 2)]
    result = entrance.feed(*warm, *other)
    assert (result.servers_ready, result.warmup.required_size, result.warmup.is_warmed_up) == (0, LENGTH // 2, False)
    entrance.live.swap(serving_of(servable), keep_previous=False)
    standing = entrance.ingest.standing()
    assert (standing.servers_ready, standing.warmup.required_size, standing.warmup.is_warmed_up) == (1, 2, True)
    assert servable.forecast(entrance.window.snapshot()).servers == ("warm",)


def test_an_empty_standing(entrance: Entrance) -> None:
    standing = entrance.ingest.standing()
    assert (standing.tick, standing.window_size, standing.servers_tracked, standing.servers_ready) == (0, 0, 0, 0)
    assert not standing.warmup.is_warmed_up


def test_nothing_waiting_is_nothing_done(entrance: Entrance) -> None:
    assert entrance.ingest.step() == 0
    assert (entrance.wakes, entrance.accepted) == (0, [])


# --- what cannot be taken ---


def test_a_journal_that_fails_fails_the_group_and_changes_nothing(entrance: Entrance) -> None:
    entrance.feed(Sample("a", 1))
    entrance.journal.failure = StorageError("journal.db: disk is full")
    with pytest.raises(StorageError, match="disk is full"):
        entrance.feed_all([make_batch([Sample("a", 2)]), make_batch([Sample("b", 2)])])
    assert entrance.window.newest_slot == 1
    assert not entrance.window.tracks("b")
    assert entrance.slots() == [[("a", 1)]]
    assert (entrance.ingest.tick, entrance.wakes, len(entrance.accepted)) == (1, 1, 1)
    entrance.journal.failure = None
    assert entrance.feed(Sample("b", 3)).tick == 2


def test_a_fault_in_the_daemon_still_answers_and_the_thread_goes_on(
    entrance: Entrance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running(entrance.ingest):
        with monkeypatch.context() as patch:
            patch.setattr(entrance.journal, "gate", lambda: 1 / 0)
            with pytest.raises(StorageError, match="fault of the daemon"):
                entrance.ingest.submit(make_batch([Sample("a", 1)]))
        assert entrance.ingest.submit(make_batch([Sample("a", 2)])).tick == 1
    assert "ZeroDivisionError" in caplog.text


def test_servers_beyond_the_limit_are_refused_over_the_whole_group(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "journal.db", max_servers=2)
    first = make_batch([Sample("a", 1), Sample("b", 1)])
    second = make_batch([Sample("c", 1), Sample("a", 2)])
    third = make_batch([Sample("c", 1), Sample("d", 1)])
    results = entrance.feed_all([first, second, third])
    assert [result.refused for result in results] == [(), ("c",), ("c", "d")]
    assert [result.tick for result in results] == [1, 2, 2]
    assert entrance.slots() == [[("a", 1), ("b", 1), ("a", 2)]], "what was refused is not stored"
    assert [(event.records, event.rejected) for event in entrance.accepted] == [(2, 0), (1, 1), (0, 2)]


def test_a_group_that_is_refused_whole_writes_nothing(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "journal.db", max_servers=1)
    entrance.feed(Sample("a", 1))
    result = entrance.feed(Sample("b", 1))
    assert (result.refused, result.tick) == (("b",), 1)
    assert (entrance.journal.groups, entrance.wakes) == ([1], 1)


def test_a_server_that_aged_out_makes_room(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "journal.db", max_servers=2)
    entrance.feed(Sample("a", 1), Sample("b", 1))
    entrance.feed(Sample("a", 1 + LENGTH))
    assert entrance.feed(Sample("c", 1 + LENGTH)).refused == ()


# --- waiting ---


def test_a_full_queue_is_busy(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "journal.db", timeout_seconds=0.01, queue_size=1)
    with pytest.raises(Busy, match="waited too long and was not taken"):
        entrance.ingest.submit(make_batch([Sample("a", 1)]))
    with pytest.raises(Busy, match="too many batches are waiting"):
        entrance.ingest.submit(make_batch([Sample("b", 1)]))
    assert entrance.ingest.step() == 0, "who was told Busy was not taken"
    assert entrance.slots() == []


def test_a_disk_that_hangs_is_busy_and_the_batch_is_whole_in_the_end(tmp_path: Path) -> None:
    entrance = Entrance(tmp_path / "journal.db", timeout_seconds=0.05)
    open_gate = threading.Event()
    entrance.journal.gate = open_gate.wait  # type: ignore[assignment]
    with running(entrance.ingest):
        with pytest.raises(Busy, match="may still be taken"):
            entrance.ingest.submit(make_batch([Sample("a", 1)]))
        open_gate.set()
    assert entrance.slots() == [[("a", 1)]], "the samples of an open slot stay in the journal"
    entrance.open()
    assert entrance.window.tracks("a")


def test_a_stopped_ingest_answers_what_waits_and_takes_no_more(entrance: Entrance) -> None:
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(entrance.ingest.submit, make_batch([Sample("a", 1)]))
        entrance.await_waiting(1)
        entrance.ingest.stop()
        entrance.ingest.run()
        assert answer.result().tick == 1
    with pytest.raises(Busy, match="stopping"):
        entrance.ingest.submit(make_batch([Sample("a", 2)]))


def test_many_feeders_at_once_lose_and_double_nothing(entrance: Entrance) -> None:
    feeders, batches = 8, 25

    def feed(feeder: int) -> list[int]:
        return [
            entrance.ingest.submit(make_batch([Sample(f"s{feeder}", slot), Sample("all", slot)])).tick
            for slot in range(batches)
        ]

    with running(entrance.ingest), ThreadPoolExecutor(feeders) as pool:
        ticks = [tick for ticks in pool.map(feed, range(feeders)) for tick in ticks]
    assert sorted(ticks) == list(range(1, feeders * batches + 1))
    assert sum(entrance.journal.groups) == 2 * feeders * batches
    assert len(entrance.journal.groups) < feeders * batches, "some shared a transaction"
    assert sum(event.records for event in entrance.accepted) == 2 * feeders * batches
    assert entrance.window.size == (feeders + 1) * LENGTH


# --- over a restart ---


@settings(max_examples=40, deadline=None)
@given(
    batches=st.lists(
        st.lists(
            st.builds(
                Sample,
                server=st.sampled_from("abc"),
                slot=st.integers(0, 40),
                values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), min_size=1),
                status=st.integers(0, 3),
                profile=st.sampled_from([None, "X"]),
            ),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_restart_brings_the_window_back(
    batches: list[list[Sample]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    entrance = Entrance(tmp_path_factory.mktemp("journal") / "journal.db")
    for batch in batches:
        entrance.feed(*batch)
    before = entrance.window.snapshot()
    entrance.journal.close()
    entrance.open()
    after = entrance.window.snapshot()
    order = [after.servers.index(server) for server in before.servers]
    assert sorted(after.servers) == sorted(before.servers)
    assert after.last_slot == before.last_slot
    assert after.values[order].tobytes() == before.values.tobytes()
    assert after.statuses[order].tobytes() == before.statuses.tobytes()
    assert entrance.ingest.tick == 0, "ticks count from the start of the daemon"
    entrance.journal.close()


def test_a_lowered_limit_keeps_as_many_servers_as_fit(entrance: Entrance, caplog: pytest.LogCaptureFixture) -> None:
    entrance.feed(Sample("a", 1), Sample("b", 1), Sample("c", 1))
    entrance.journal.close()
    entrance.max_servers = 2
    entrance.open()
    assert entrance.window.servers_tracked == 2
    assert "1 servers of the journal have no room" in caplog.text
