"""Files larger than memory should hold: the process grows by far less than their rows would take."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, Popen

import pytest

pytestmark = pytest.mark.slow

SMALL, LARGE = 50_000, 500_000
AT = 1_738_245_900
GROWTH_MB = 50
"""The files of LARGE have some 30 MB of text."""


def write_lines(file: Path, rows: int) -> None:
    """Series after series, as InfluxDB exports them."""
    with file.open("w") as stream:
        for server in range(10):
            for row in range(rows // 10):
                stream.write(f"cpu,cpu=cpu-total,host=web{server} usage_user={row % 97} {AT + 10 * row}000000000\n")


def write_csv(file: Path, rows: int) -> None:
    with file.open("w") as stream:
        stream.write("time,host,cpu,note\n")
        for row in range(rows):
            stream.write(f"{AT + row // 10 * 10},web{row % 10},{row % 97},a text in row {row} that is no metric\n")


def peak_mb(file: Path) -> float:
    """Of a process that imports the file."""
    command = [sys.executable, "-m", "nordiq_watch", "import", str(file), "--out", str(file.with_suffix(".out"))]
    with Popen(command, stdout=DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


@pytest.mark.parametrize(("write", "name"), [(write_lines, "a.lp"), (write_csv, "a.csv")], ids=["lines", "csv"])
def test_ten_times_the_rows_take_hardly_more_memory(
    tmp_path: Path, write: Callable[[Path, int], None], name: str
) -> None:
    peaks = []
    for rows in (SMALL, LARGE):
        (tmp_path / str(rows)).mkdir()
        write(tmp_path / str(rows) / name, rows)
        peaks.append(peak_mb(tmp_path / str(rows) / name))
    assert peaks[1] - peaks[0] < GROWTH_MB
