"""What every benchmark has in common: its options, the tables that it prints, the JSON and the picture that it leaves.

A benchmark measures, fills a `Report` and hands it to `run_benchmark`. A missed target is printed plainly and is no
error; a measurement that cannot be made is one, with its traceback. Importing this makes the tests' helpers importable
(`from support.NAME import …`): the daemon's process and the networks of known answer are the same in both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

RESULTS = Path(__file__).parent / "results"
_WHOSE = 2  # columns that every row of a table has

Row = dict[str, Any]
Column = tuple[str, str]
"""A field of the rows, and its heading."""


@dataclass(frozen=True, slots=True)
class Target:
    """`value` is what was measured, and is to be at most `target`; the name says the unit."""

    name: str
    value: float
    target: float

    @property
    def met(self) -> bool:
        return self.value <= self.target


@dataclass
class Report:
    """rows: what was measured, one flat dict each. tables: title → columns, in the order in which they are printed.

    The first two columns of each table say whose row it is; rows that have none of the others are left out.
    """

    rows: Sequence[Row]
    targets: Sequence[Target]
    tables: Mapping[str, Sequence[Column]]
    draw: Callable[[Figure], None]


def run_benchmark(
    measure: Callable[[argparse.Namespace], Report],
    description: str,
    *,
    name: str,
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None,
) -> None:
    """Reads the options, measures, prints the tables, writes JSON and PNG."""
    parser = argparse.ArgumentParser(prog=f"benchmarks/{name}.py", description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller sizes: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write targets and rows to FILE")
    parser.add_argument(
        "--png", type=Path, metavar="FILE", default=RESULTS / f"{name}.png", help="default: %(default)s"
    )
    add_arguments(parser)
    options = parser.parse_args()
    machine = describe_machine()
    report = measure(options)
    show(report, machine)
    if options.json is not None:
        options.json.write_text(json.dumps(to_json(report, machine), indent=2) + "\n")
    options.png.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(layout="constrained")
    report.draw(figure)
    figure.savefig(options.png, dpi=110)
    tell(f"picture: {options.png}")


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`, for benchmarks that also run on a GPU."""
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda or cuda:N (default: %(default)s)")


def describe_machine() -> Row:
    """Where the numbers are from. `load` is the load average before the benchmark began: above 0 it was not alone."""
    return {
        "cores": cores(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def tell(text: str) -> None:
    """A line of progress on stderr."""
    sys.stderr.write(text + "\n")


def show(report: Report, machine: Row) -> None:
    """The tables on stdout, as Markdown."""
    parts = [", ".join(f"{key} {value}" for key, value in machine.items())]
    parts += [f"### {title}\n\n{format_rows(report.rows, columns)}" for title, columns in report.tables.items()]
    parts.append(f"### Targets\n\n{format_targets(report.targets)}")
    sys.stdout.write("\n\n".join(parts) + "\n")


def format_rows(rows: Iterable[Row], columns: Sequence[Column]) -> str:
    shown = [row for row in rows if any(name in row for name, _ in columns[_WHOSE:])]
    return format_table(
        [heading for _, heading in columns], [[write(row.get(name, "")) for name, _ in columns] for row in shown]
    )


def format_targets(targets: Iterable[Target]) -> str:
    verdicts = [
        [target.name, write(target.value), f"≤ {write(target.target)}", "met" if target.met else "MISSED"]
        for target in targets
    ]
    return format_table(["what", "measured", "target", ""], verdicts)


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown whose columns also stand below each other in a terminal."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = [headings, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(map(str.ljust, line, widths))} |" for line in lines)


def write(value: Any) -> str:
    """A number with three digits that count; anything else as it is."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def to_json(report: Report, machine: Row) -> Row:
    """`{"machine": …, "targets": [{"name", "value", "target", "met"}], "rows": […]}`."""
    targets = [
        {"name": target.name, "value": target.value, "target": target.target, "met": target.met}
        for target in report.targets
    ]
    return {"machine": machine, "targets": targets, "rows": list(report.rows)}


def median(values: ArrayLike) -> float:
    return float(np.median(np.asarray(values)))


def percentile(values: ArrayLike, share: float) -> float:
    """NaN of nothing."""
    values = np.asarray(values)
    return float(np.percentile(values, share)) if values.size else float("nan")
