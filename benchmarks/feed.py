"""How much can be fed, what does a server cost, and how soon is it all back? See README.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import feed_formats
import feed_replay
import msgspec
import numpy as np
import orjson
import psutil
from common import Report, Row, Target, median, run_benchmark, tell
from matplotlib.figure import Figure
from support.daemon import DaemonProcess, clean_environment

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.ingest.sample_checks import FeedRules
from nordiq_watch.ingest.sample_store import SampleStore
from nordiq_watch.ingest.samples import FeedReader
from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import Batch
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.journal import Journal

HERE = Path(__file__).parent
INTERVAL_SECONDS = 300
LENGTH = 288
METRICS = len(DEFAULT_METRICS)
OPEN_SLOTS = 4
"""Those that a daemon has open before the newest one, with the default lateness."""

SMALL, LARGE = 50, 10_000
CONNECTIONS = {SMALL: 8, LARGE: 2}
SERVER_CORE, CLIENT_CORE = 0, 1
KEY = "a-key-for-the-peer"
OURS, WITHOUT_FORECASTS, PEER = "nordiq_watch", "nordiq_watch, answers.baseline off", "json.loads into dicts"
"""Without a model the daemon forecasts all the while by its built-in baseline, which is no cost of a feed; nor does the
peer write to a disk. So there is a daemon that forecasts nothing beside the usual one, and processor time beside rates.
"""

OVER_HTTP = [
    ("what", "what"),
    ("records", "records a body"),
    ("per_second", "records/s"),
    ("worst", "slowest run"),
    ("cpu_us", "CPU µs a record"),
    ("busy", "of the core used"),
    ("bytes", "bytes a record"),
]


@dataclass(frozen=True, slots=True)
class Plan:
    servers: int
    repeats: int
    seconds: float
    kills: int
    hosts: int
    scrapes: int
    format_seconds: float


FULL = Plan(
    servers=10_000, repeats=5, seconds=4.0, kills=100, hosts=feed_formats.FLEET_HOSTS, scrapes=24, format_seconds=4.0
)
QUICK = Plan(servers=10_000, repeats=2, seconds=1.0, kills=10, hosts=40, scrapes=6, format_seconds=0.3)


def measure(options: argparse.Namespace) -> Report:
    plan = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        rows = [
            *measure_reading(plan),
            *measure_http(plan, root / "http"),
            *measure_collectors(plan, root),
            feed_replay.measure_replay(hosts=plan.hosts),
            *measure_window(plan, root),
            *measure_archive(plan, root),
            measure_kills(plan, root / "kills"),
        ]
    return Report(
        rows=rows,
        targets=targets_of(rows),
        tables={
            "Over HTTP, the server on one core": OVER_HTTP,
            "Reading a body, no HTTP": [("what", "what"), ("records", "records a body"), ("us", "µs a record")],
            "The window": [
                ("what", "what"),
                ("servers", "servers"),
                ("bytes_a_server", "bytes a server"),
                ("of_raw", "of its raw float32"),
                ("snapshot_s", "copy of all, s"),
            ],
            "A restart": [
                ("what", "what"),
                ("servers", "servers"),
                ("restore_s", "window restored, s"),
                ("answers_s", "process start to first answer, s"),
                ("cpu_s", "CPU s till then"),
                ("restart_s", "and a copy of the window, s"),
            ],
            "A day of samples on disk": [
                ("what", "what"),
                ("servers", "servers"),
                ("import_s", "import, s"),
                ("write_s", "write, s"),
                ("read_s", "read, s"),
                ("mb", "MB"),
            ],
            **dict(feed_formats.tables()),
            **feed_replay.TABLE,
            "kill -9": [
                ("what", "what"),
                ("kills", "kills"),
                ("acknowledged", "acknowledged"),
                ("lost", "lost or doubled"),
            ],
        },
        draw=lambda figure: draw(figure, rows),
    )


# --- reading ---


def make_body(records: int, slot: int, first: int = 0) -> bytes:
    """What collectors send: one slot of some servers, all metrics with two decimals."""
    values = np.random.default_rng(slot + first).uniform(0, 100, size=(records, METRICS)).round(2).tolist()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(slot * INTERVAL_SECONDS))
    return json.dumps(
        {
            "records": [
                {
                    "timestamp": stamp,
                    "server_name": f"ppdb{first + number:05}",
                    "status": "healthy",
                    **dict(zip(DEFAULT_METRICS, row, strict=True)),
                }
                for number, row in enumerate(values)
            ]
        }
    ).encode()


def measure_reading(plan: Plan) -> list[Row]:
    """The same body by each library, and then all of what a feed does to it."""
    now = time.time()
    slot = int(now) // INTERVAL_SECONDS
    rules = FeedRules(DEFAULT_METRICS, INTERVAL_SECONDS, 300, LENGTH)
    reader, by_rows = FeedReader(DEFAULT_METRICS), FeedReader(DEFAULT_METRICS, scans=False)
    readers: dict[str, Callable[[bytes], object]] = {
        "json.loads": json.loads,
        "orjson.loads": orjson.loads,
        "msgspec.json.decode": msgspec.json.decode,
        "msgspec into rows, types checked": reader.schema.read,
        "msgspec into rows, all checked": lambda body: by_rows.read(body, rules, now=now),
        "nordiq_watch: columns, all checked": lambda body: reader.read(body, rules, now=now),
    }
    rows = []
    for records in (SMALL, LARGE):
        body = make_body(records, slot)
        times: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(5 * plan.repeats):
            for name, read in readers.items():
                began = time.perf_counter()
                read(body)
                times[name].append(time.perf_counter() - began)
        rows += [
            {"what": name, "records": records, "us": median(taken) / records * 1e6} for name, taken in times.items()
        ]
    return rows


# --- over HTTP ---


@dataclass
class Load:
    """Connections in a closed loop for some seconds."""

    url: str
    key: str
    bodies: Sequence[bytes]
    records: int
    taken: int = 0
    errors: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> float:
        """Records a second that were acknowledged."""
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._send, args=(number, began + seconds))
            for number in range(CONNECTIONS[self.records])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.errors:
            raise RuntimeError(self.errors[0])
        return self.taken * self.records / (time.perf_counter() - began)

    def _send(self, number: int, until: float) -> None:
        place = urlsplit(self.url)
        connection = HTTPConnection(place.hostname or "", place.port, timeout=60)
        while time.perf_counter() < until:
            body = self.bodies[number % len(self.bodies)]
            connection.request("POST", "/feed/data", body, {"X-API-Key": self.key})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or b"rejected" in text:
                self.errors.append(f"{answer.status} {text[:300]!r}")
                return
            self.taken += 1
            number += CONNECTIONS[self.records]
        connection.close()


def measure_http(plan: Plan, root: Path) -> list[Row]:
    """Both servers on the same core, one after the other, again and again; their clients on another one."""
    newest = int(time.time()) // INTERVAL_SECONDS
    bodies = {
        SMALL: [make_body(SMALL, newest - back, first) for back in (1, 0) for first in range(0, 2_000, SMALL)],
        LARGE: [make_body(LARGE, newest - back) for back in range(5, -1, -1)],
    }
    results: dict[tuple[str, int], list[tuple[float, float]]] = {}
    os.sched_setaffinity(0, {CLIENT_CORE})
    try:
        with (
            daemon_on_one_core(root) as usual,
            daemon_on_one_core(root / "without", answers={"baseline": False}) as without,
            peer_on_one_core() as (peer, peer_url),
        ):
            assert usual.process is not None
            assert without.process is not None
            places = {
                OURS: (usual.url, usual.key, usual.process.pid),
                WITHOUT_FORECASTS: (without.url, without.key, without.process.pid),
                PEER: (peer_url, KEY, peer),
            }
            for records in (LARGE, SMALL):
                for repeat in range(plan.repeats + 1):  # the first one is for warming up
                    for name, (url, key, process) in places.items():
                        load, before = Load(url, key, bodies[records], records), cpu_seconds(process)
                        rate = load.run(plan.seconds)
                        if repeat:
                            spent = (cpu_seconds(process) - before) / (load.taken * records)
                            results.setdefault((name, records), []).append((rate, spent * 1e6))
                tell(f"bodies of {records}: done")
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return [
        {
            "what": name,
            "records": records,
            "per_second": median([rate for rate, _ in runs]),
            "worst": min(rate for rate, _ in runs),
            "cpu_us": median([spent for _, spent in runs]),
            "busy": median([rate * spent / 1e6 for rate, spent in runs]),
            "bytes": len(bodies[records][0]) // records,
        }
        for (name, records), runs in results.items()
    ]


def measure_collectors(plan: Plan, root: Path) -> list[Row]:
    """Collectors' own formats, and remote write of a fleet, each to a daemon of its own."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    try:
        with daemon_on_one_core(root / "formats") as daemon:
            rows = feed_formats.measure_formats(daemon, seconds=plan.format_seconds)
        with daemon_on_one_core(root / "fleet", window=feed_formats.FLEET_WINDOW) as daemon:
            return [*rows, feed_formats.measure_fleet(daemon, hosts=plan.hosts, rounds=plan.scrapes)]
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))


def cpu_seconds(process: int) -> float:
    """What the process has used of its core, the kernel's part included: neighbours do not count."""
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


@contextmanager
def daemon_on_one_core(root: Path, **sections: Mapping[str, Any]) -> Iterator[DaemonProcess]:
    daemon = DaemonProcess(root, metrics=DEFAULT_METRICS, **sections)
    daemon.launcher = ("taskset", "-c", str(SERVER_CORE))
    with daemon:
        yield daemon


@contextmanager
def peer_on_one_core() -> Iterator[tuple[int, str]]:
    """Its process id and its URL."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, str(HERE / "feed_peer.py"), KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.kill()


# --- window, restart, archive ---


def make_slot(servers: Sequence[str], slot: int) -> Batch:
    values = np.random.default_rng(slot).uniform(0, 100, size=(len(servers), METRICS)).astype(np.float32).round(2)
    return Batch(
        servers=tuple(servers),
        profiles=(None,) * len(servers),
        rows=np.arange(len(servers)),
        slots=np.full(len(servers), slot, dtype=np.int64),
        statuses=np.ones(len(servers), dtype=np.uint8),
        values=values,
        offsets=np.zeros(len(servers), dtype=np.int64),
    )


def make_window() -> Window:
    return Window(
        DEFAULT_METRICS, interval_seconds=INTERVAL_SECONDS, length=LENGTH, max_servers=20_000, silent_seconds=3600
    )


def make_archive(directory: Path) -> Archive:
    return Archive(directory, metrics=DEFAULT_METRICS, interval_seconds=INTERVAL_SECONDS, days=30)


def make_ledger(state: Path, window: Window, clock: Callable[[], float] = time.time) -> SampleStore:
    journal = Journal(state / "journal.sqlite3", metrics=DEFAULT_METRICS, interval_seconds=INTERVAL_SECONDS)
    return SampleStore(journal, make_archive(state / "archive"), window, future_seconds=300, clock=clock)


def measure_window(plan: Plan, root: Path) -> list[Row]:
    """In processes of their own: memory that was used before must not be used again."""
    state = root / "restart" / "state"
    memory = run_part("memory", str(plan.servers))
    run_part("fill", str(plan.servers), str(state))
    restored = run_part("restore", str(state))
    with DaemonProcess(state.parent, metrics=DEFAULT_METRICS) as daemon:  # once for the page cache
        assert daemon.get("/status")["window_size"] == plan.servers * LENGTH
    answers, used = [], []
    for _ in range(plan.repeats):
        daemon = DaemonProcess(state.parent, metrics=DEFAULT_METRICS)
        began = time.perf_counter()
        try:
            daemon.start()
            answers.append(time.perf_counter() - began)
            assert daemon.process is not None
            used.append(cpu_seconds(daemon.process.pid))
        finally:
            daemon.kill()
    restart = {
        "answers_s": median(answers),
        "cpu_s": median(used),
        "restart_s": median(answers) + memory["snapshot_s"],
        "restore_s": restored["restore_s"],
    }
    tell("window and restart: done")
    return [
        {"what": "window", "servers": plan.servers, **memory},
        {"what": "restart", "servers": plan.servers, **restart},
    ]


def run_part(*arguments: str) -> Row:
    command = [sys.executable, str(HERE / "feed.py"), "--part", *arguments]
    environ = clean_environment() | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    row: Row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environ).stdout)
    return row


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def part_memory(servers: str) -> Row:
    names = [f"ppdb{number:05}" for number in range(int(servers))]
    window = make_window()
    window.apply(make_slot(names[:10], 0))
    before = resident_bytes()
    for slot in range(1, LENGTH + 1):
        for first in range(0, len(names), 500):  # as it comes in pieces, the window grows in pieces
            window.apply(make_slot(names[first : first + 500], slot))
        window.settle([open_slot for open_slot in window.open_slots() if open_slot < slot - OPEN_SLOTS])
    used = resident_bytes() - before
    began = time.perf_counter()
    window.snapshot()
    raw = len(names) * LENGTH * METRICS * 4
    return {
        "bytes_a_server": used // len(names),
        "of_raw": used / raw,
        "snapshot_s": time.perf_counter() - began,
    }


def part_fill(servers: str, state: str) -> Row:
    names = [f"ppdb{number:05}" for number in range(int(servers))]
    newest = int(time.time()) // INTERVAL_SECONDS
    slots = range(newest - LENGTH + 1, newest + 1)
    current = [float(slots[0] * INTERVAL_SECONDS)]
    sample_store = make_ledger(Path(state), make_window(), lambda: current[0])  # a day as it came
    sample_store.restore()
    for slot in slots:
        current[0] = float(slot * INTERVAL_SECONDS)
        sample_store.store(make_slot(names, slot))
    return {}


def part_restore(state: str) -> Row:
    window = make_window()
    sample_store = make_ledger(Path(state), window)
    began = time.perf_counter()
    sample_store.restore()
    return {"restore_s": time.perf_counter() - began}


def part_parquet(servers: str, directory: str) -> Row:
    names = [f"ppdb{number:05}" for number in range(int(servers))]
    began = time.perf_counter()
    import pyarrow as pa
    import pyarrow.parquet as pq

    imported = time.perf_counter() - began
    slots = [make_slot(names, slot) for slot in range(LENGTH)]
    began = time.perf_counter()
    columns: dict[str, Any] = {
        "slot": pa.array(np.concatenate([batch.slots for batch in slots])),
        "server_name": pa.array(names * LENGTH).dictionary_encode(),
        "status": pa.array(np.concatenate([batch.statuses for batch in slots])),
    }
    values = np.concatenate([batch.values for batch in slots])
    columns |= {name: pa.array(values[:, number]) for number, name in enumerate(DEFAULT_METRICS)}
    path = Path(directory) / "day.parquet"
    pq.write_table(pa.table(columns), path)
    written = time.perf_counter() - began
    began = time.perf_counter()
    pq.read_table(path)
    return {
        "import_s": imported,
        "write_s": written,
        "read_s": time.perf_counter() - began,
        "mb": path.stat().st_size / 1e6,
    }


def part_archive(servers: str, directory: str) -> Row:
    names = [f"ppdb{number:05}" for number in range(int(servers))]
    archive = make_archive(Path(directory) / "archive")
    slots = [make_slot(names, slot) for slot in range(LENGTH)]
    began = time.perf_counter()
    for hour in range(0, LENGTH, 12):
        archive.write(slots[hour : hour + 12])
    written = time.perf_counter() - began
    began = time.perf_counter()
    for _ in archive.replay(0, LENGTH):
        pass
    read = time.perf_counter() - began
    size = sum(path.stat().st_size for path in archive.files().values())
    return {"import_s": 0.0, "write_s": written, "read_s": read, "mb": size / 1e6}


def measure_archive(plan: Plan, root: Path) -> list[Row]:
    parts = {"archive, an hour at a time": "archive", "Parquet, the day at once": "parquet"}
    rows = [
        {"what": name, "servers": plan.servers, **run_part(part, str(plan.servers), str(root))}
        for name, part in parts.items()
    ]
    tell("archive: done")
    return rows


def measure_kills(plan: Plan, state: Path) -> Row:
    """The program of tests/faults/test_kill.py; it ends with an error if anything is lost or doubled."""
    state.mkdir()
    tests = HERE.parent / "tests"
    done = subprocess.run(
        [sys.executable, str(tests / "support" / "crashing_feeder.py"), str(state), str(plan.kills), "1"],
        stdout=subprocess.PIPE,
        env=clean_environment() | {"PYTHONPATH": f"{tests}:{HERE.parent}"},
        check=False,
    )
    if done.returncode:
        return {"what": "kill -9", "kills": plan.kills, "acknowledged": 0, "lost": 1}
    return {"what": "kill -9", **json.loads(done.stdout), "lost": 0}


# --- what came of it ---


def targets_of(rows: Sequence[Row]) -> list[Target]:
    speed = {(row["what"], row["records"]): row["per_second"] for row in rows if "per_second" in row}

    spent = {(row["what"], row["records"]): row["cpu_us"] for row in rows if "cpu_us" in row}

    def peer_over_ours(records: int) -> float:
        return float(speed[PEER, records] / speed[OURS, records])

    def ours_over_peer(records: int) -> float:
        return float(spent[WITHOUT_FORECASTS, records] / spent[PEER, records])

    (memory,) = [row["of_raw"] for row in rows if "of_raw" in row]
    (restart,) = [row["restart_s"] for row in rows if "restart_s" in row]
    (fleet,) = [row for row in rows if "fleet" in row]
    (lost,) = [row["lost"] for row in rows if "lost" in row]
    return [
        Target(f"records/s of json.loads into dicts over ours, bodies of {SMALL}", peer_over_ours(SMALL), 1.0),
        Target(f"records/s of json.loads into dicts over ours, bodies of {LARGE:,}", peer_over_ours(LARGE), 0.5),
        Target(
            f"CPU a record without forecasts over that of json.loads into dicts, bodies of {SMALL}",
            ours_over_peer(SMALL),
            1.0,
        ),
        Target(
            f"CPU a record without forecasts over that of json.loads into dicts, bodies of {LARGE:,}",
            ours_over_peer(LARGE),
            0.5,
        ),
        Target(f"µs a record over HTTP, bodies of {LARGE:,}", 1e6 / speed[OURS, LARGE], 10.0),
        Target("resident memory of the window over its raw float32", memory, 1.25),
        *feed_formats.targets_of_fleet(fleet),
        Target("acknowledged records lost or doubled", lost, 0.0),
        Target("restart to the first forecast, without the forward pass, s", restart, 5.0),
    ]


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    figure.set_size_inches(11, 4.5)
    over_http, reading = figure.subplots(1, 2)
    fed = [row for row in rows if "per_second" in row]
    over_http.barh([f"{row['what']}\n{row['records']:,} a body" for row in fed], [row["per_second"] for row in fed])
    over_http.set_xlabel("records/s over HTTP, server on one core")
    read = [row for row in rows if "us" in row and row["records"] == LARGE]
    reading.barh([row["what"] for row in read], [row["us"] for row in read], color="tab:gray")
    reading.set_xlabel(f"µs a record to read a body of {LARGE:,}")


PARTS: dict[str, Callable[..., object]] = {
    "memory": part_memory,
    "fill": part_fill,
    "restore": part_restore,
    "parquet": part_parquet,
    "archive": part_archive,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        sys.stdout.write(json.dumps(PARTS[sys.argv[2]](*sys.argv[3:])))
    else:
        run_benchmark(measure, __doc__ or "", name="feed")
