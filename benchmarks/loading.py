"""What a training dataset takes in memory: read, split and cut into batches by the trainer, and held by two of the
library's TimeSeriesDataSets (training and validation), as far as these fit.

Fourteen days of fourteen metrics every five minutes, in one Parquet file. The peak is that of the whole process, with
the libraries that it imports and the mapped file's pages.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from common import Report, Row, Target, run_benchmark, tell
from matplotlib.figure import Figure
from support.training_memory import LIBRARY, OURS, measure_memory, write_fleet

DAYS, METRICS = 14, 14
SERVERS, QUICK_SERVERS = [100, 500, 5000], [30]
MOST_OF_LIBRARY = 500  # servers; more would take many GB
FIXED_MB = 1000
NAMES = {OURS: "nordiq-watch train", LIBRARY: "TimeSeriesDataSet"}


def measure(options: argparse.Namespace) -> Report:
    rows: list[Row] = []
    for servers in options.servers or (QUICK_SERVERS if options.quick else SERVERS):
        with TemporaryDirectory() as root:
            tell(f"{servers:,} servers: writing the file …")
            directory = write_fleet(Path(root), servers=servers, days=DAYS, metrics=METRICS)
            for way in (OURS, LIBRARY) if servers <= MOST_OF_LIBRARY else (OURS,):
                tell(f"{servers:,} servers: {NAMES[way]} …")
                rows.append({"loader": NAMES[way], "servers": servers} | describe(measure_memory(directory, way)))
    headings = ["numbers MB", "peak MB", "times the numbers", "seconds to load", "batches a second"]
    return Report(
        rows=rows,
        targets=[find_target(row) for row in rows if row["loader"] == NAMES[OURS]],
        tables={
            f"{DAYS} days, {METRICS} metrics": [
                ("servers", "servers"), ("loader", "loader"), *((name, name) for name in headings)
            ]
        },
        draw=lambda figure: draw(rows, figure),
    )  # fmt: skip


def describe(used: dict[str, float]) -> Row:
    """`times the numbers`: what the process grew by while it loaded."""
    return {
        "numbers MB": used["raw"],
        "peak MB": used["peak"],
        "times the numbers": (used["peak"] - used["before"]) / used["raw"],
        "seconds to load": used["seconds"],
        "batches a second": used["a second"],
    }


def find_target(row: Row) -> Target:
    name = f"{row['servers']:,} servers: peak MB, at most 2 times the numbers + {FIXED_MB:,}"
    return Target(name, row["peak MB"], 2 * row["numbers MB"] + FIXED_MB)


def draw(rows: list[Row], figure: Figure) -> None:
    figure.set_size_inches(6, 4)
    axes = figure.subplots()
    for name in NAMES.values():
        mine = [row for row in rows if row["loader"] == name]
        axes.plot([row["numbers MB"] for row in mine], [row["peak MB"] for row in mine], "o-", label=name)
    numbers = sorted({row["numbers MB"] for row in rows})
    axes.plot(numbers, [2 * each + FIXED_MB for each in numbers], "--", color="grey", label="target")
    axes.set(xscale="log", yscale="log", xlabel="numbers of the dataset, MB", ylabel="peak of the process, MB")
    axes.legend()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--servers", type=int, nargs="+", metavar="N", help=f"default: {' '.join(map(str, SERVERS))}")


if __name__ == "__main__":
    run_benchmark(measure, __doc__ or "", name="loading", add_arguments=add_arguments)
