"""The skip policy of CI, on runs of pytest of its own: in one process, and in several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parent
SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="there is no GPU here")
def test_of_a_gpu():
    pass

def test_of_a_browser():
    pytest.skip("chromium is not installed")
"""

Processes = tuple[str, ...]


@pytest.fixture(params=[(), ("-n", "2")], ids=["one process", "two processes"])
def processes(request: pytest.FixtureRequest) -> Processes:
    """Options of pytest."""
    options: Processes = request.param
    return options


def run_pytest(
    folder: Path, processes: Processes, *, allowed: str | None, test: str = SKIPPING
) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(test)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environ = os.environ | {"PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environ.pop("ALLOWED_SKIPS", None)
    if allowed is not None:
        (folder / "allowed").write_text(allowed)
        environ["ALLOWED_SKIPS"] = "allowed"
    plugins = ("-p", "support.skips", "-p", "xdist", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *plugins, *processes, str(folder)]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("allowed", [None, "there is no GPU here\nchromium .*  # not on this machine\n"])
def test_skips_that_are_allowed_leave_a_run_green(tmp_path: Path, allowed: str | None) -> None:
    assert run_pytest(tmp_path, (), allowed=allowed).returncode == 0


def test_a_skip_that_was_not_foreseen_turns_a_run_red_and_is_named(tmp_path: Path, processes: Processes) -> None:
    done = run_pytest(tmp_path, processes, allowed="there is no GPU here\n")
    assert done.returncode == 1
    assert "1 skipped that must not be here: chromium is not installed" in done.stdout
    assert "GPU" not in done.stdout.partition("must not be here")[2]


def test_a_whole_file_that_is_skipped_counts(tmp_path: Path, processes: Processes) -> None:
    done = run_pytest(
        tmp_path, processes, allowed="", test='import pytest\npytest.importorskip("streamlit_that_is_not_here")\n'
    )
    assert done.returncode != 0
    assert "must not be here: could not import 'streamlit_that_is_not_here'" in done.stdout
