"""The end of the log as records: what two real formatters wrote, read back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from nordiq_watch.host.log_tail import parse_records, read_records, read_tail
from nordiq_watch.host.logs import EventFormatter, JsonFormatter
from nordiq_watch.records.log import LogRecord


@pytest.mark.parametrize(("lines", "expected"), [(2, ["b", "c"]), (3, ["a", "b", "c"]), (50, ["a", "b", "c"])])
def test_a_tail_is_the_newest_lines(tmp_path: Path, lines: int, expected: list[str]) -> None:
    file = tmp_path / "log"
    file.write_text("a\nb\nc\n")
    assert read_tail(file, lines) == expected


def test_a_tail_of_a_large_log_reads_whole_lines_from_its_end(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("".join(f"{number} {'x' * 300}\n" for number in range(5000)))
    tail = read_tail(file, 10)
    assert [line.split()[0] for line in tail] == [str(number) for number in range(4990, 5000)]


def test_without_a_log_there_is_no_tail(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "nothing", 10) == []


@pytest.fixture(params=[EventFormatter, JsonFormatter], ids=["text", "json"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[logging.Logger]:
    """One that writes tmp_path / "log" in one of the two formats."""
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    handler.setFormatter(request.param())
    logger = logging.Logger("nordiq_watch.reload.worker")
    logger.addHandler(handler)
    yield logger
    handler.close()


def test_records_have_their_time_level_and_text(log: logging.Logger, tmp_path: Path) -> None:
    log.info("watching")
    log.warning("no room: %d MB\u2028 {is} free", 3)
    log.critical("stopped")
    records = read_records(tmp_path / "log", 10)
    assert [record.level for record in records] == ["INFO", "WARNING", "CRITICAL"]
    assert records[0].text == "reload.worker: watching"
    assert records[1].text in (
        "reload.worker: no room: 3 MB\\u2028 {is} free",
        "reload.worker: no room: 3 MB\u2028 {is} free",
    )
    assert all(record.time is not None and record.time.endswith("Z") for record in records)


def test_a_traceback_belongs_to_its_record(log: logging.Logger, tmp_path: Path) -> None:
    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        log.exception("a step failed")
    log.info("the next one")
    failed, after = read_records(tmp_path / "log", 100)
    assert failed.level == "ERROR"
    lines = failed.text.split("\n")
    assert lines[0] == "reload.worker: a step failed"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-2:] == ["ValueError: first line", "second line"]
    assert after.text == "reload.worker: the next one"


def test_a_file_of_both_formats_and_a_beginning_that_was_cut_off() -> None:
    lines = [
        '  File "a.py", line 1, in step',
        "ValueError: broken",
        "2025-01-30T14:35:22.120Z INFO    daemon: serving",
        '{"time":"2025-01-30T14:35:23.000Z","level":"ERROR","logger":"daemon","event":"went wrong","drop":"x"}',
        '{"this": "is no record"}',
    ]
    assert parse_records(lines) == [
        LogRecord(None, None, '  File "a.py", line 1, in step\nValueError: broken'),
        LogRecord("2025-01-30T14:35:22.120Z", "INFO", "daemon: serving"),
        LogRecord("2025-01-30T14:35:23.000Z", "ERROR", 'daemon: went wrong\n{"this": "is no record"}'),
    ]
