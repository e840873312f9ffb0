"""What a fleet of ten thousand to a million servers costs one machine: memory, feeding, a tick stage by stage, reads
meanwhile, a restart and a day on disk.

`python -m nordiq_watch serve` as a process of its own whose stages are timed (timed_daemon.py), with a day of samples
of two metrics on disk and a network of hidden size 32 that reads 288 slots and forecasts 96. Beside it, in the same
run: the network alone on inputs that are ready, and reading the daemon's files once.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.parse import urlsplit

import psutil
from common import Report, Row, Target, cores, percentile, run_benchmark, tell
from large_fleet import (
    ENCODER,
    HORIZON,
    INTERVAL_SECONDS,
    METRICS,
    VERSION,
    TimedDaemon,
    name_of,
    seconds_to_read,
    state_bytes,
    time_raw_forward,
    write_fleet,
)
from matplotlib.figure import Figure

from nordiq_watch.artifact.layout import WEIGHTS_FILE

GIGABYTE = 1e9
FLOAT_BYTES, BANDS = 4, 3
READS = {"one server": f"/predictions/{name_of(7)}", "a page": "/predictions/current?limit=1000"}
READS_AT_REST, PAUSE_SECONDS = 200, 0.01  # seconds between reads: no client reads without a pause
TICK_SHARE, TICK_SECONDS, RESTART_SHARE = 1.5, 300.0, 3.0
READ_SHARES = {"one server": 3.0, "a page": 5.0}
_RESTART_SERVERS = 100_000
"""A smaller fleet is read from its files in less time than Python takes to import the daemon."""

_BYTES_A_SERVER = 20_000
"""Of memory, with some room: a fleet that does not fit is left out and said so."""


def measure(options: argparse.Namespace) -> Report:
    sizes = [1000, 3000] if options.quick else options.fleets
    rows: list[Row] = []
    for servers in sizes:
        if servers * _BYTES_A_SERVER > psutil.virtual_memory().available:
            tell(f"{servers} servers do not fit into this machine's memory: left out")
            continue
        tell(f"{servers} servers: writing a day …")
        with TemporaryDirectory() as root:
            rows.append(measure_fleet(Path(root), servers, parts=options.parts))
    return Report(
        rows=rows,
        targets=list(find_targets(rows)),
        tables=dict(make_tables(rows)),
        draw=lambda figure: draw(rows, figure),
    )


def measure_fleet(root: Path, servers: int, *, parts: bool) -> Row:
    newest = int(time.time()) // INTERVAL_SECONDS - 1
    write_fleet(root, servers, newest_slot=newest)
    row: Row = {"servers": servers, "disk_gb": state_bytes(root) / GIGABYTE, "read_files_s": seconds_to_read(root)}
    daemon = TimedDaemon(root, servers=servers, parts=parts)
    tell(f"{servers} servers: starting …")
    begin = time.time()
    with daemon:
        row["restart_s"] = time.time() - begin
        daemon.wait_for_model(VERSION)
        row["first_answer_s"] = time.time() - begin
        row |= measure_ticks(daemon, servers)
        if parts:
            row |= measure_memory(daemon, servers)
    tell(f"{servers} servers: the network alone …")
    weights = (root / "models" / VERSION / WEIGHTS_FILE).read_bytes()
    row["raw_forward_s"], row["raw_forward_cpu_s"] = time_raw_forward(servers, weights, threads=max(1, cores() // 2))
    row["tick_share"] = row["tick_s"] / row["raw_forward_s"]
    row["tick_cpu_share"] = row["tick_cpu_s"] / row["raw_forward_cpu_s"]
    row["limit_gb"] = 2 * servers * len(METRICS) * FLOAT_BYTES * (ENCODER + BANDS * HORIZON) / GIGABYTE + 1
    return row


def measure_ticks(daemon: TimedDaemon, servers: int) -> Row:
    """Reads at rest; then one slot is fed, and the tick that has all of it is measured, with reads meanwhile."""
    daemon.wait_for_rest()
    tell(f"{servers} servers: reading at rest …")
    rest = {what: read(daemon, path, READS_AT_REST) for what, path in READS.items()}
    tell(f"{servers} servers: reading during a tick …")
    with reading(daemon) as busy:
        feed_seconds, sent = daemon.feed_slot(servers, int(time.time()) // INTERVAL_SECONDS)
        tick = daemon.wait_for_tick(sent)
    row: Row = {"feed_s": feed_seconds, "tick_s": tick["seconds"], "tick_cpu_s": tick["cpu"]}
    row |= {f"{stage} s": wall for stage, (wall, _) in tick["stages"].items()}
    row |= {f"{stage} cpu s": cpu for stage, (_, cpu) in tick["stages"].items()}
    row |= {"resident_gb": daemon.resident_bytes() / GIGABYTE, "peak_gb": daemon.peak_bytes() / GIGABYTE}
    for what in READS:
        row[f"{what} rest ms"] = percentile(rest[what], 99) * 1e3
        row[f"{what} busy ms"] = percentile(busy[what], 99) * 1e3
    return row


def measure_memory(daemon: TimedDaemon, servers: int) -> Row:
    """Bytes per server of each part of the daemon at rest, and the highest in each stage of the last tick."""
    tell(f"{servers} servers: what the memory is made of …")
    daemon.wait_for_rest()
    row: Row = {"all B": daemon.resident_bytes() / servers}
    row |= {f"{part} B": size / servers for part, size in daemon.measure_parts().items()}
    row |= {f"{stage} peak B": highest / servers for stage, highest in daemon.ticks()[-1]["peaks"].items()}
    return row


def read(daemon: TimedDaemon, path: str, times: int) -> list[float]:
    """Seconds of each GET on one connection."""
    address, seconds = urlsplit(daemon.url), []
    connection = HTTPConnection(str(address.hostname), address.port)
    for _ in range(times):
        begin = time.perf_counter()
        connection.request("GET", path, headers={"X-API-Key": daemon.key})
        response = connection.getresponse()
        response.read()
        seconds.append(time.perf_counter() - begin)
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"{path} answered {response.status}")
        time.sleep(PAUSE_SECONDS)
    connection.close()
    return seconds


@contextmanager
def reading(daemon: TimedDaemon) -> Iterator[dict[str, list[float]]]:
    """A client that reads one server and a page in turn, until the end of the block."""
    stop = Event()
    seconds: dict[str, list[float]] = {what: [] for what in READS}

    def keep_reading() -> None:
        while not stop.is_set():
            for what, path in READS.items():
                seconds[what] += read(daemon, path, 1)

    thread = Thread(target=keep_reading)
    thread.start()
    try:
        yield seconds
    finally:
        stop.set()
        thread.join()


def find_targets(rows: list[Row]) -> Iterator[Target]:
    """Those of the largest fleet that was measured; the share of the raw forward also of 100,000 servers."""
    if not rows:
        return
    largest = rows[-1]
    for row in {id(row): row for row in (*(row for row in rows if row["servers"] == 100_000), largest)}.values():
        yield Target(f"tick of {row['servers']:,} servers, times the network alone", row["tick_share"], TICK_SHARE)
    whose = f"{largest['servers']:,} servers"
    yield Target(f"tick of {whose}, s", largest["tick_s"], TICK_SECONDS)
    yield Target(f"resident with {whose}, GB", largest["peak_gb"], largest["limit_gb"])
    for what, share in READ_SHARES.items():
        measured = largest[f"{what} busy ms"] / largest[f"{what} rest ms"]
        yield Target(f"GET of {what} of {whose} during a tick, p99, times at rest", measured, share)
    if largest["servers"] >= _RESTART_SERVERS:
        share = largest["restart_s"] / largest["read_files_s"]
        yield Target(f"restart with {whose}, times reading its files", share, RESTART_SHARE)


def make_tables(rows: list[Row]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    yield (
        "The whole machine",
        [
            ("servers", "servers"),
            ("feed_s", "feed of a slot s"),
            ("tick_s", "tick s"),
            ("tick_cpu_s", "of the processor s"),
            ("raw_forward_s", "the network alone s"),
            ("tick_share", "tick, times that"),
            ("tick_cpu_share", "the same by the processor"),
            ("resident_gb", "resident GB"),
            ("peak_gb", "at the peak GB"),
            ("limit_gb", "allowed GB"),
            ("restart_s", "restart s"),
            ("read_files_s", "its files read s"),
            ("first_answer_s", "first answer s"),
            ("disk_gb", "a day on disk GB"),
        ],
    )
    stages = dict.fromkeys(name.removesuffix(" cpu s") for row in rows for name in row if name.endswith(" cpu s"))
    for unit, ending in (("by the clock", "s"), ("of the processor", "cpu s")):
        columns = [("servers", "servers"), ("tick_s", "tick s"), *((f"{name} {ending}", name) for name in stages)]
        yield f"A tick, stage by stage: seconds {unit}", columns
    yield from _tables_of_memory(rows)
    yield (
        "Reads, p99 ms",
        [
            ("servers", "servers"),
            ("tick_s", "tick s"),
            *((f"{what} {when} ms", f"{what}, {when}") for what in READS for when in ("rest", "busy")),
        ],
    )


def _tables_of_memory(rows: list[Row]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A line per part would be easier to read, but a row is a fleet: parts that take a byte a server are columns."""
    whose = [("servers", "servers"), ("all B", "all")]
    sizes = {name: max(row.get(name, 0.0) for row in rows) for row in rows for name in row if name.endswith(" B")}
    peaks = [name for name in sizes if name.endswith(" peak B")]
    parts = [name for name, size in sizes.items() if size >= 1 and name not in (*peaks, "all B")]
    parts.sort(key=lambda name: -sizes[name])
    yield "Memory at rest, by part: bytes a server", [*whose, *((name, name.removesuffix(" B")) for name in parts)]
    shown = [(name, name.removesuffix(" peak B")) for name in peaks]
    yield "Highest resident memory in each stage of a tick: bytes a server", [*whose, *shown]


def draw(rows: list[Row], figure: Figure) -> None:
    """Cost per server over the size of the fleet."""
    figure.set_size_inches(11, 4.5)
    times, memory = figure.subplots(1, 2)
    servers = [row["servers"] for row in rows]
    for name, label in {
        "tick_s": "tick", "raw_forward_s": "the network alone", "feed_s": "feed of a slot", "restart_s": "restart"
    }.items():  # fmt: skip
        times.plot(servers, [row[name] / row["servers"] * 1e6 for row in rows], marker="o", label=label)
    for name, label in {"peak_gb": "resident, at the peak", "limit_gb": "allowed", "disk_gb": "a day on disk"}.items():
        memory.plot(servers, [row[name] / row["servers"] * 1e6 for row in rows], marker="o", label=label)
    for axes, unit in ((times, "µs a server"), (memory, "kB a server")):
        axes.set(xscale="log", yscale="log", xlabel="servers", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--fleets",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000],
        metavar="N",
        help="servers (default: 10000 100000 1000000)",
    )
    parser.add_argument(
        "--parts", action="store_true", help="also what the memory is made of, by part; times do not count then"
    )


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="million", add_arguments=add_arguments)
