"""Files that are damaged, enormous or something else end in one line that says what to do."""

from __future__ import annotations

import gzip
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from nordiq_watch.cli.main import FAILED, main
from nordiq_watch.cli.parsers import USAGE_EXIT

HEADER = "time,host,cpu\n"
ROW = "2025-01-06T12:00:00,web1,1.5\n"


def text(content: str, name: str = "a.csv") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")  # type: ignore[return-value]


def raw(content: bytes, name: str = "a.csv") -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)  # type: ignore[return-value]


def sparse(name: str, begin: bytes = b"") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.write(begin)
            file.truncate(10 * 2**30)

    return write


def parquet(**columns: list[object]) -> Callable[[Path], None]:
    return lambda folder: pd.DataFrame(columns).to_parquet(folder / "a.parquet")


NOISE = random.Random(7).randbytes(200_000)
CASES = {
    "empty": (text(""), "is empty, without a line of column names; export it anew"),
    "nothing possible": (
        text(HEADER + ROW.replace("1.5", "-5") + ROW.replace("1.5", "900")),
        "cpu_user_pct: 2 values outside 0 to 100 taken as not measured",
    ),
    "a page": (text("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"), "is a page of HTML"),
    "header alone": (text(HEADER), "no rows with a metric"),
    "binary": (raw(NOISE), "is no text, for it holds bytes of 0"),
    "binary parquet": (raw(NOISE, "a.parquet"), "cannot be read"),
    "utf-16": (raw((HEADER + ROW).encode("utf-16")), "it is UTF-16; save it as CSV in UTF-8"),
    "latin-1": (raw((HEADER + ROW).replace("web1", "b\u00fcro").encode("latin-1")), "not UTF-8"),
    "latin-1 far below": (raw((HEADER + ROW * 60_000).encode() + b"2025-01-06,b\xfcro,1\n"), "cannot be read: "),
    "truncated gz": (raw(gzip.compress((HEADER + ROW * 999).encode())[:-40], "a.csv.gz"), "cannot be read"),
    "no gz": (raw((HEADER + ROW).encode(), "a.csv.gz"), "cannot be read"),
    "no zst": (raw((HEADER + ROW).encode(), "a.csv.zst"), "cannot be read"),
    "10 GB of nothing": (sparse("a.csv"), "bytes of 0"),
    "10 GB behind a header": (sparse("a.csv", HEADER.encode()), "a.csv"),
    "10 GB of parquet": (sparse("a.parquet"), "cannot be read"),
    "one long line": (text("x" * 3_000_000), "no line ends in its first"),
    "long line in the middle": (text(HEADER + ROW + "2025-01-06,web1," + "1" * 9_000_000 + "\n"), "a line is longer"),
    "ragged": (text(HEADER + ROW + "2025-01-06T12:05:00,web1\n"), "a.csv, row 2: has 2 columns, the header 3: '2025"),
    "decimal comma": (text(HEADER + ROW + ROW.replace("1.5", "1,5")), "that holds ',' goes into double quotes; mend"),
    "open quote": (text(HEADER + ROW.replace("web1", '"web1') + ROW), "row 1: has 2 columns, the header 3: '2025"),
    "far below": (text(HEADER + ROW * 250_000 + "cut"), "a.csv, row 250001: has 1 column, the header 3: 'cut'; mend"),
    "empty lines": (text("\n\n#group\n" + HEADER + "\n" + ROW + "\n" + "cut\n"), "a.csv, row 2: has 1 column"),
    "spreadsheet": (raw(b"PK", "a.xlsx"), "1 file that no reader knows (.xlsx): a.xlsx; save each sheet of a spread"),
    "calc": (raw(b"PK", "a.ODS"), "(.ODS): a.ODS; save each sheet of a spreadsheet as CSV in UTF-8"),
    "other json": (text("[]", "a.json"), "of sadf's JSON; export other JSON as CSV"),
    "zip": (raw(b"PK", "a.csv.zip"), "a.csv.zip; unpack an archive of files first"),
    "header twice": (text("time,host,cpu,cpu\n2025-01-06,web1,1,2\n"), "header has cpu more than once"),
    "header in the middle": (text(HEADER + ROW + HEADER), "row 2: timestamp 'time' is not a date-time"),
    "two times": (text("date,time,host,cpu\n2025-01-06,12:00,a,1\n"), "say which: --column timestamp=date"),
    "no server": (text("time,cpu\n2025-01-06,1\n"), "--column server_name=COLUMN; or put the file of one server into"),
    "no metric": (text("time,host,load_pct\n2025-01-06,a,1\n"), "--column METRIC=COLUMN"),
    "servers as columns": (text("time,web1,web2\n2025-01-06,1,2\n"), "with a column per server, --wide METRIC"),
    "american date": (text("time,host,cpu\n1/6/2025 12:00,a,1\n"), "'1/6/2025 12:00' is not a date-time such as"),
    "german date": (text("time,host,cpu\n6.1.2025 12:00,a,1\n"), "export the year first, or Unix time"),
    "time of day": (text("time,host,cpu\n12:00,a,1\n"), "'12:00' is not a date-time such as 2025-01-15T10:00:00\n"),
    "spreadsheet's day": (parquet(time=[45663.5], host=["a"], cpu=[1.0]), "is no Unix time in seconds; write seconds"),
    "two units": (text(HEADER + "1736164800,a,1\n1736164800000,a,1\n"), "row 2: timestamp 1736164800000 is no Unix"),
    "two kinds of time": (text(HEADER + "1736164800,a,1\n2025-01-06,a,1\n"), "row 2: timestamp '2025-01-06' is no"),
    "thousands": (text('time,host,load\n2025-01-06,a,"1,234"\n'), "load is '1,234', not a number; write a decimal"),
    "two decimal signs": (text("time;host;cpu\n2025-01-06;a;1,5\n2025-01-07;a;1.5\n"), "cpu is '1,5', not a number"),
    "words": (text(HEADER + ROW + "2025-01-06T12:05:00,web1,high\n"), "row 2: cpu is 'high', not a number"),
    "nested": (parquet(time=["2025-01-06"], host=["a"], cpu=[[1, 2]]), "a.parquet"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_file_is_one_line_that_says_what_to_do(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write, words = CASES[name]
    folder = tmp_path / "files"
    folder.mkdir()
    write(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["import", "files", "--out", "out"]) == FAILED
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: files")
    assert words in err
    assert grown_kb < 1_000_000
    assert sorted(os.listdir(tmp_path)) == ["files"]  # noqa: PTH208  # names alone


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["files", "--out", "x", "--dry-run"], "--dry-run: not allowed with argument --out"),
        (["files", "--dry-run", "--column", "cpu"], "cpu is not NAME=COLUMN"),
        (["files", "--dry-run", "--timezone", "CEST"], "'CEST', which is not in this machine's tz database"),
        ([], "give files and folders, or --prometheus URL"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["import", *arguments])
    assert exit_.value.code == USAGE_EXIT
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert words in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: does not exist"),
        (["files", "--column", "cpus=cpu"], "--column cpus=cpu: cpus is none of timestamp, server_name"),
        (["files", "--wide", "cpus"], "--wide cpus: is none of the config's metrics: cpu_user_pct"),
        (["files", "--column", "server_name=node"], "a.csv: has no column node for server_name; its columns are time"),
        (["files/a.csv", "--timezone", "Europe/Berlin"], "2025-03-30T02:30:00 does not exist in Europe/Berlin"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.csv").write_text(HEADER + "2025-03-30T02:30:00,web1,1\n")
    assert main(["import", *arguments, "--dry-run"]) == FAILED
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert words in err
