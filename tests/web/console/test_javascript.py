"""The console's scripts in node's own test runner, on a stub of a browser and the daemon's real tables."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from nordiq_watch.config.schema import Config
from nordiq_watch.web.console.tables import describe_tables

HERE = Path(__file__).parent / "javascript"
FILES = sorted(HERE.glob("*.test.js"))


def find_node() -> str:
    node = shutil.which("node")
    if node is None:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("node is not installed (Debian: apt-get install nodejs)")
    return node


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_scripts_do_what_their_tests_say(file: Path) -> None:
    done = subprocess.run(
        [find_node(), "--test", str(file)],
        cwd=HERE,
        env={
            **os.environ,
            "NORDIQ_TABLES": msgspec.json.encode(describe_tables(Config())).decode(),
            "TZ": "UTC",
            "LC_ALL": "en_US.UTF-8",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^# pass (\d+)$", done.stdout, flags=re.M)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 0, done.stdout
