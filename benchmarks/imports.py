"""What an import of large files takes in time and memory: CSV, Parquet, line protocol and sadf's JSON, into a dataset
and into the files of a daemon that does not run.

Ten servers are sampled every ten seconds, the newest now, in one file; sadf's JSON is a file per server. The peak is
that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
from common import Report, Row, Target, run_benchmark, tell
from matplotlib.figure import Figure

SERVERS, STEP_SECONDS, BLOCK = 10, 10, 100_000
ROWS, QUICK_ROWS = [1_000_000, 4_000_000, 16_000_000], [200_000, 800_000]
MOST_OF_JSON = 4_000_000
GROWTH_MB = 200
METRICS = ("cpu_user_pct", "mem_used_pct")


def measure(options: argparse.Namespace) -> Report:
    rows: list[Row] = []
    for count in options.rows or (QUICK_ROWS if options.quick else ROWS):
        for name, write in WRITERS.items():
            if name == "sadf -j" and count > MOST_OF_JSON:
                continue
            with TemporaryDirectory() as place:
                root = Path(place)
                tell(f"{count:,} rows of {name}: writing …")
                (root / "files").mkdir()
                write(root / "files", count)
                size = sum(path.stat().st_size for path in (root / "files").iterdir())
                for target, arguments in (("dataset", ["--out", "out"]), ("daemon's files", [])):
                    tell(f"{count:,} rows of {name}: into the {target} …")
                    seconds, peak = run(root, arguments)
                    rows.append(
                        {
                            "form": name, "rows": count, "MB": size / 1e6, "into": target, "seconds": seconds,
                            "rows a second": count / seconds, "peak MB": peak,
                        }
                    )  # fmt: skip
    columns = [(name, name) for name in ("form", "rows", "MB", "into", "seconds", "rows a second", "peak MB")]
    return Report(
        rows=rows,
        targets=list(find_targets(rows)),
        tables={"imports": columns},
        draw=lambda figure: draw(rows, figure),
    )


def run(root: Path, arguments: list[str]) -> tuple[float, float]:
    """Seconds, and the peak of the process in MB."""
    (root / "config.yaml").write_text("server: {port: 1}\narchive: {days: 400}\n")
    begun = time.monotonic()
    command = [sys.executable, "-m", "nordiq_watch", "import", "files", *arguments]
    with Popen(command, cwd=root, stdout=DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - begun, usage.ru_maxrss * 1024 / 1e6


def find_targets(rows: list[Row]) -> Iterator[Target]:
    for name in WRITERS:
        peaks = [row["peak MB"] for row in rows if row["form"] == name]
        sizes = [row["rows"] for row in rows if row["form"] == name]
        words = f"{name}: MB more for {max(sizes):,} rows than for {min(sizes):,}, at most"
        yield Target(words, max(peaks) - min(peaks), GROWTH_MB)


def blocks(count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Times in seconds, numbers of servers, and values (rows, metrics), oldest first."""
    rng, each = np.random.default_rng(1), count // SERVERS
    begin = int(time.time()) // 300 * 300 - each * STEP_SECONDS
    for first in range(0, count, BLOCK):
        index = np.arange(first, min(count, first + BLOCK))
        yield begin + index // SERVERS * STEP_SECONDS, index % SERVERS, rng.uniform(1, 99, (len(index), 2)).round(2)


def tables(count: int) -> Iterator[pyarrow.Table]:
    names = np.array([f"web{number:03}" for number in range(SERVERS)], dtype=object)
    for times, servers, values in blocks(count):
        columns = {
            "timestamp": times,
            "server_name": names[servers],
            METRICS[0]: values[:, 0],
            METRICS[1]: values[:, 1],
        }
        yield pyarrow.table(columns)


def write_csv(folder: Path, count: int) -> None:
    with (folder / "a.csv").open("wb") as file:
        for number, table in enumerate(tables(count)):
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(include_header=number == 0))


def write_parquet(folder: Path, count: int) -> None:
    first = next(tables(1))
    with pyarrow.parquet.ParquetWriter(folder / "a.parquet", first.schema) as writer:
        for table in tables(count):
            writer.write_table(table)


def write_lines(folder: Path, count: int) -> None:
    with (folder / "a.lp").open("w") as file:
        for times, servers, values in blocks(count // 2):
            for at, server, (cpu, mem) in zip(times.tolist(), servers.tolist(), values.tolist(), strict=True):
                file.write(f"cpu,cpu=cpu-total,host=web{server:03} usage_user={cpu} {at}000000000\n")
                file.write(f"mem,host=web{server:03} available_percent={mem} {at}000000000\n")


def write_sadf(folder: Path, count: int) -> None:
    """A file per server and day, as sysstat has them."""
    by_file: dict[tuple[int, str], list[object]] = {}
    for times, servers, values in blocks(count):
        for at, server, (cpu, mem) in zip(times.tolist(), servers.tolist(), values.tolist(), strict=True):
            day, clock = time.strftime("%F", time.gmtime(at)), time.strftime("%T", time.gmtime(at))
            record = {
                "timestamp": {"date": day, "time": clock, "utc": 1, "interval": STEP_SECONDS},
                "cpu-load": [{"cpu": "all", "user": cpu, "nice": 0.0, "system": 0.0, "iowait": 0.0, "idle": 100 - cpu}],
                "memory": {"memused-percent": mem},
            }
            by_file.setdefault((server, day), []).append(record)
    for (server, day), records in by_file.items():
        host = {"nodename": f"web{server:03}", "statistics": records}
        (folder / f"{server}-{day}.json").write_text(json.dumps({"sysstat": {"hosts": [host]}}))


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "CSV": write_csv, "Parquet": write_parquet, "line protocol": write_lines, "sadf -j": write_sadf
}  # fmt: skip


def draw(rows: list[Row], figure: Figure) -> None:
    figure.set_size_inches(6, 4)
    axes = figure.subplots()
    for name in WRITERS:
        mine = [row for row in rows if row["form"] == name and row["into"] == "dataset"]
        axes.plot([row["rows"] for row in mine], [row["peak MB"] for row in mine], "o-", label=name)
    axes.set(xscale="log", xlabel="rows", ylabel="peak of the process, MB", ylim=(0, None))
    axes.legend()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", metavar="N", help=f"default: {' '.join(map(str, ROWS))}")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="imports", add_arguments=add_arguments)
