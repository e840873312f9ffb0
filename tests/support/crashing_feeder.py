"""A process that is fed by many threads and killed with SIGKILL, again and again; run as a program by test_kill.py.

The parent imports once and forks a child a round. A child restores the real ledger, checks that everything that was
acknowledged so far is in the window, once, and then feeds the real ingest until it is killed. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nordiq_watch.events import EventBus
from nordiq_watch.ingest import checkpoint_times
from nordiq_watch.ingest.backfill import Backfill
from nordiq_watch.ingest.ingest import Ingest
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.window import Window
from nordiq_watch.live.published import Live
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal
from support.batches import METRICS, Sample, make_batch

FEEDERS = 3
LENGTH = 50_000
FIRST_SLOT = 100_000
checkpoint_times.CHECKPOINT_BATCHES = 7  # many kills shall meet the writing of the archive
LONGEST_ROUND = 25  # acknowledgements


class Round:
    """A daemon's samples, restored from `state`."""

    def __init__(self, state: Path) -> None:
        self.window = Window(METRICS, interval_seconds=300, length=LENGTH, max_servers=9, silent_seconds=1e9)
        journal = Journal(state / "journal.sqlite3", metrics=METRICS, interval_seconds=300)
        archive = Archive(state / "archive", metrics=METRICS, interval_seconds=300, days=1000)
        sample_store = SampleStore(journal, archive, self.window, future_seconds=300)
        backfill = Backfill(sample_store, self.window, archive)
        self.ingest = Ingest(sample_store, self.window, EventBus(), live=Live(), backfill=backfill)
        self.ingest.restore()

    def kept(self) -> Mapping[str, list[float]]:
        """Server → its values, in the order of the slots from FIRST_SLOT on; fails if there is a hole."""
        snapshot = self.window.snapshot()
        kept = {}
        for server, values in zip(snapshot.servers, snapshot.values[:, :, 0], strict=True):
            there = np.flatnonzero(~np.isnan(values))
            slots = snapshot.last_slot - LENGTH + 1 + there
            assert slots.tolist() == list(range(FIRST_SLOT, FIRST_SLOT + len(slots))), f"{server} has holes: {slots}"
            kept[server] = values[there].tolist()
        assert self.window.size == sum(map(len, kept.values()))
        return kept


def check(kept: Mapping[str, list[float]], acknowledged: Mapping[str, int]) -> None:
    """Sample k of a server has the value k; at most one more than what was acknowledged is there."""
    for server, count in acknowledged.items():
        values = kept.get(server, [])
        assert values == [float(number) for number in range(len(values))], server
        assert count <= len(values) <= count + 1, f"{server}: {count} acknowledged, {len(values)} kept"


def feed(state: Path, acknowledged: Mapping[str, int], pipe: int) -> None:
    """The child: never returns, unless the check fails."""
    running = Round(state)
    kept = running.kept()
    check(kept, acknowledged)
    counts = {server: len(kept.get(server, [])) for server in acknowledged}
    os.write(pipe, f"{json.dumps(counts)}\n".encode())
    threading.Thread(target=running.ingest.run).start()

    def send(server: str) -> None:
        for number in range(counts[server], LENGTH):
            running.ingest.submit(make_batch([Sample(server, FIRST_SLOT + number, {"cpu_user_pct": float(number)})]))
            os.write(pipe, f"{server}\n".encode())

    for server in acknowledged:
        threading.Thread(target=send, args=(server,)).start()
    signal.pause()


def kill_once(state: Path, acknowledged: dict[str, int], chance: random.Random) -> None:
    """One child: waits for some acknowledgements, kills it, and counts those that were on their way."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            feed(state, acknowledged, writer)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as lines:
        first = lines.readline()
        assert first, "the child found something lost or doubled; see above"
        acknowledged.update(json.loads(first))
        for _ in range(chance.randrange(LONGEST_ROUND)):
            acknowledged[lines.readline().strip()] += 1
        os.kill(child, signal.SIGKILL)
        for line in lines:
            acknowledged[line.strip()] += 1
    os.waitpid(child, 0)


def main(state: Path, kills: int, seed: int) -> None:
    acknowledged = {f"s{number}": 0 for number in range(FEEDERS)}
    chance = random.Random(seed)
    for _ in range(kills):
        kill_once(state, acknowledged, chance)
    check(Round(state).kept(), acknowledged)
    sys.stdout.write(json.dumps({"kills": kills, "acknowledged": sum(acknowledged.values())}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
