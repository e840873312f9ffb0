from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.trouble import blocked

from nordiq_watch.host.log_file import LogFile
from nordiq_watch.parts import Parts


@pytest.fixture
def part_logger() -> Iterator[logging.Logger]:
    """The log of the parts goes into the file too, as in the daemon."""
    logger = logging.getLogger("nordiq_watch.parts")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield logger
    logger.setLevel(before)


def say(handler: LogFile, text: str) -> None:
    handler.handle(logging.LogRecord("x", logging.INFO, "x", 1, text, None, None))


@pytest.mark.parametrize("by", ["the next line", "a check"])
def test_lines_that_the_disk_refuses_are_said_once_and_the_file_comes_back(
    tmp_path: Path, part_logger: logging.Logger, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "logs" / "nw.log"
    handler = LogFile(file, max_bytes=10**6, keep=1, part=Parts().of("log"))
    part_logger.addHandler(handler)
    try:
        with blocked(file.parent):
            for number in range(3):
                say(handler, f"lost {number}")
            handler.check()
            assert not handler.part.works
            assert handler.part.status.reason is not None
            assert "nw.log cannot be written" in handler.part.status.reason
        if by == "a check":
            handler.check()
        say(handler, "back")
        assert handler.part.works
    finally:
        part_logger.removeHandler(handler)
        handler.close()
    text = file.read_text()
    assert "back" in text
    assert "lost" not in text
    assert text.count("the log works again") == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("rotated", ["renamed", "renamed and made anew", "deleted", "copied and truncated"])
def test_lines_after_a_rotation_are_in_the_file_of_the_right_name(tmp_path: Path, rotated: str) -> None:
    file, earlier = tmp_path / "nw.log", tmp_path / "nw.log.1"
    handler = LogFile(file, max_bytes=10**6, keep=1, part=Parts().of("log"))
    say(handler, "before")
    if rotated == "deleted":
        file.unlink()
    elif rotated == "copied and truncated":
        shutil.copy(file, earlier)
        os.truncate(file, 0)
    else:
        file.rename(earlier)
        if rotated == "renamed and made anew":
            file.touch()
    say(handler, "after")
    handler.close()
    assert file.read_text() == "after\n"
    assert rotated == "deleted" or earlier.read_text() == "before\n"
    assert handler.part.works
