"""Two threads that read a type of JSON or YAML for the first time, at once: msgspec 0.22 ends the process with SIGSEGV.

The daemon meets this at a start with a model on disk while a client asks for /metrics, and at the first drop while the
console looks on. nordiq_watch/conversion.py has the cause.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.first_reads import READS

pytestmark = pytest.mark.slow

TRIES = 60
TESTS = Path(__file__).parents[1]


@pytest.mark.threads
@pytest.mark.parametrize("name", READS)
def test_two_first_reads_at_once_end_no_process(name: str, tmp_path: Path) -> None:
    """In a process of its own, because other tests have read everything in this one."""
    done = subprocess.run(
        [sys.executable, str(TESTS / "support" / "first_reads.py"), name, str(tmp_path), str(TRIES)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", "")))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"0": TRIES}, done.stderr
