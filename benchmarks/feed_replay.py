"""How soon a daemon is back that was killed while a fleet's collectors fed it: its log is read before it answers."""

from __future__ import annotations

import time
from array import array
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
from common import Row, tell
from feed_encoders import known_series
from support.daemon import DaemonProcess

from nordiq_watch.config.schema import DEFAULT_METRICS
from nordiq_watch.ingest.formats.series_log import SEGMENT_SECONDS
from nordiq_watch.ingest.formats.series_segments import Head, Record, write_frame

SCRAPE_SECONDS = 15.0
LOG_SECONDS = 2220.0
"""What a daemon with the default settings keeps of its log."""

_HOSTS_PER_REQUEST = 2

TABLE = {
    "Start after kill -9, on the log of what a fleet's collectors sent": [
        ("log", "log"),
        ("samples", "samples in it"),
        ("megabytes", "MB"),
        ("start_s", "start to first answer, s"),
        ("empty_s", "without a log, s"),
        ("replay_cpu_s", "CPU s more with it"),
    ]
}


def measure_replay(*, hosts: int) -> Row:
    """Starts on the log of a fleet, and on none."""
    seconds, used = [], []
    samples = size = 0
    for known in (0, hosts):
        with TemporaryDirectory() as root:
            logs = Path(root) / "state" / "collectors"
            logs.mkdir(parents=True)
            samples = write_log(logs, hosts=known)
            size = sum(path.stat().st_size for path in logs.iterdir())
            daemon = DaemonProcess(Path(root), metrics=DEFAULT_METRICS)
            began = time.perf_counter()
            with daemon:
                seconds.append(time.perf_counter() - began)
                assert daemon.process is not None
                times = psutil.Process(daemon.process.pid).cpu_times()
                used.append(times.user + times.system)
                tell(f"start on the log of {known:,} hosts: {seconds[-1]:.1f} s, of CPU {used[-1]:.1f} s")
    return {
        "log": f"{hosts:,} hosts",
        "samples": samples,
        "megabytes": size / 1e6,
        "empty_s": seconds[0],
        "start_s": seconds[1],
        "replay_cpu_s": used[1] - used[0],
    }


def write_log(directory: Path, *, hosts: int) -> int:
    """What remote write of these hosts left until now; returns how many samples rules want of it."""
    begin, count, number = time.time() - LOG_SECONDS, 0, 0
    for scrape in range(int(LOG_SECONDS / SCRAPE_SECONDS)):
        at = begin + scrape * SCRAPE_SECONDS
        if scrape * SCRAPE_SECONDS // SEGMENT_SECONDS == number:
            number += 1
            path = directory / f"prometheus-{number:06}.log"
            path.write_bytes(write_frame(Head(at, begin, 0.0, 0.0)))
            numbers: dict[tuple[int, int], int] = {}
        with path.open("ab") as file:
            for first in range(0, hosts, _HOSTS_PER_REQUEST):
                record, more = _record(range(first, first + _HOSTS_PER_REQUEST), at, numbers)
                count += more
                file.write(write_frame(record))
    return count


def _record(hosts: range, at: float, numbers: dict[tuple[int, int], int]) -> tuple[Record, int]:
    columns = array("I"), array("d"), array("d")
    new = []
    for host in hosts:
        for place, series in enumerate(known_series(host, at)):
            known = len(numbers)
            number = numbers.setdefault((host, place), known)
            if number == known:
                new.append((number, [text.encode() for pair in series.labels.items() for text in pair]))
            columns[0].append(number)
            columns[1].append(series.samples[0][0])
            columns[2].append(series.samples[0][1])
    packed = [column.tobytes() for column in columns]
    return Record(at, at + 300, new, packed[0], packed[1], packed[2], []), len(columns[0])
