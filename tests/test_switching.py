"""Eager switching reaches every process of a run, and every process that a test starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
TEST = """
import os, subprocess, sys

INTERVAL = "import sys; print(sys.getswitchinterval())"

def test_here():
    assert sys.getswitchinterval() < 1e-5

def test_in_a_process():
    assert float(subprocess.check_output([sys.executable, "-c", INTERVAL])) < 1e-5

def test_the_path_of_modules_is_kept():
    assert os.environ["TESTS"] in os.environ["PYTHONPATH"].split(os.pathsep)
"""


@pytest.mark.parametrize(
    ("eager", "processes", "result"),
    [("1", (), "3 passed"), ("1", ("-n", "2"), "3 passed"), ("", (), "2 failed, 1 passed")],
    ids=["one process", "two processes", "not told so"],
)
def test_threads_are_changed_as_often_as_possible_if_told_so(
    tmp_path: Path, eager: str, processes: tuple[str, ...], result: str
) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ("-p", "support.switching", "-p", "xdist", "-p", "no:cacheprovider")
    environ = {"PYTHONPATH": str(TESTS), "TESTS": str(TESTS), "EAGER_SWITCHING": eager}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *processes, str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result in done.stdout, done.stdout + done.stderr
