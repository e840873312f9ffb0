from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nordiq_watch.log_throttle import LINES_PER_MINUTE
from nordiq_watch.parts import Parts
from nordiq_watch.security.audit import AuditLog


class Clock:
    now = 1_738_246_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "audit.jsonl"


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_added_to_what_is_there_and_private(path: Path) -> None:
    AuditLog(path, clock=Clock()).write(action="one")
    AuditLog(path, clock=Clock()).write(action="two")
    assert lines(path) == [
        {"time": "2025-01-30T14:06:40.000+00:00", "action": "one"},
        {"time": "2025-01-30T14:06:40.000+00:00", "action": "two"},
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_lines_of_many_threads_do_not_mix(path: Path) -> None:
    audit = AuditLog(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: audit.write(number=number, text="x" * 2000), range(200)))
    assert sorted(line["number"] for line in lines(path)) == list(range(200))  # type: ignore[type-var]


def test_a_file_that_was_moved_away_is_begun_anew(path: Path) -> None:
    audit = AuditLog(path)
    audit.write(action="one")
    path.rename(path.with_suffix(".1"))
    audit.write(action="two")
    assert [line["action"] for line in lines(path)] == ["two"]


def test_refusals_cannot_fill_the_disk_and_are_counted(path: Path) -> None:
    clock = Clock()
    audit = AuditLog(path, clock=clock)
    for _ in range(LINES_PER_MINUTE + 940):
        audit.write_refusal(status=401)
    audit.write(action="a change in between is never left out")
    assert len(lines(path)) == LINES_PER_MINUTE + 1
    clock.now += 60
    audit.write_refusal(status=401)
    assert lines(path)[-2]["count"] == 940
    assert lines(path)[-1]["status"] == 401


def test_a_disk_that_refuses_costs_the_line_and_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.mkdir(parents=True)
    AuditLog(path).write(action="lost")
    assert "an audit line was lost (Is a directory)" in caplog.text
    assert "lost" in caplog.text


def test_a_disk_that_refuses_makes_its_part_fail_until_it_can_be_written(path: Path) -> None:
    part = Parts().of("audit")
    audit = AuditLog(path, part=part)
    path.mkdir(parents=True)
    audit.write(action="lost")
    audit.check()
    assert (part.works, part.dropped) == (False, 1)
    path.rmdir()
    audit.check()
    assert part.works
