"""What is in C++ under AddressSanitizer and UndefinedBehaviorSanitizer: `make test-sanitizers`, which needs g++.

The kernel's own tests run on a build that stops at a read or write out of bounds, at a misaligned access, at an integer
overflow. Scratch memory has a forbidden vector behind each of its parts there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
KERNEL = REPOSITORY / "nordiq_watch" / "network" / "kernel"
SCANNER = REPOSITORY / "nordiq_watch" / "ingest" / "kernel" / "scan.cpp"
WRITER = REPOSITORY / "nordiq_watch" / "json_rows" / "rows.cpp"
SOURCES = [str(path) for path in sorted(KERNEL.rglob("*.cpp"))]
FLAGS = (
    "-O1", "-g", "-std=c++17", "-pthread", "-shared", "-fPIC", "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
)  # fmt: skip
MINUTES = 10

pytestmark = pytest.mark.timeout(60 * MINUTES)  # the compiler alone may take five of them, on busy cores


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the library."""
    compiler = shutil.which("g++") or pytest.fail("g++ is not installed")
    place = tmp_path_factory.mktemp("sanitized")
    subprocess.run([compiler, *FLAGS, *SOURCES, "-o", str(place / "_native.so")], check=True)
    (place / "ingest").mkdir()
    subprocess.run([compiler, *FLAGS, str(SCANNER), "-o", str(place / "ingest" / "_native.so")], check=True)
    (place / "json_rows").mkdir()
    subprocess.run([compiler, *FLAGS, str(WRITER), "-o", str(place / "json_rows" / "_native.so")], check=True)
    return place


def run(kernel: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python with the sanitizers loaded before all else, and this kernel in the place of the installed one.

    Leaks are not looked for: Python itself ends with memory in use.
    """
    found = (
        subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")
    )
    environ = {
        **os.environ,
        "LD_PRELOAD": " ".join(found),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "NORDIQ_TEST_KERNEL": str(kernel),
        "NORDIQ_TEST_SCANNER": str(kernel / "ingest"),
        "NORDIQ_TEST_WRITER": str(kernel / "json_rows"),
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests'}",
    }
    return subprocess.run(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * MINUTES,
    )


OUT_OF_BOUNDS = """
import os
from pathlib import Path
import numpy as np
from nordiq_watch.network import native
from nordiq_watch.network.native_library import load_library
from support.networks import network_spec, random_weights
from support.variety import as_inputs, build, inputs_of

spec = network_spec()
forward = native.NativeForward(build(spec, random_weights(spec)), load_library(Path(os.environ["NORDIQ_TEST_KERNEL"])))
whole = forward._arrays
forward._arrays = lambda inputs: {name: array.copy() for name, array in whole(inputs).items()} | {
    "%(name)s": whole(inputs)["%(name)s"][:1].copy()  # one server's, of several
}
forward.run(as_inputs(inputs_of(spec)))
"""


@pytest.mark.parametrize("name", ["lengths", "begin_cell", "past_context"])
def test_a_read_out_of_bounds_is_found(kernel: Path, name: str) -> None:
    done = run(kernel, "-c", OUT_OF_BOUNDS % {"name": name})
    assert done.returncode < 0, done.stdout + done.stderr
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "nordiq_forward" in done.stderr


TERMS_OUT_OF_BOUNDS = """
import os
from pathlib import Path
import torch
from support.extras import random_extras, with_extras
from nordiq_watch.network.terms.blend import Terms
from nordiq_watch.network.terms.history_inputs import HistoryInputs
from nordiq_watch.network.terms.library import load_terms_library
from nordiq_watch.network.terms.native_terms import NativeTerms

spec = with_extras(members=("linear", "rows"))
native = NativeTerms(Terms(spec, random_extras(spec)), load_terms_library(Path(os.environ["NORDIQ_TEST_KERNEL"])))
native._check = lambda *given: None
network, values, lengths = torch.zeros(5, 2, 4, 3), torch.zeros(5, 12, 2), torch.full((5,), 12)
%(name)s = %(name)s[:1].clone()  # one window's, of several
native.apply(network, HistoryInputs(values, lengths, torch.tensor([0])))
"""


@pytest.mark.parametrize("name", ["network", "lengths"])
def test_a_read_out_of_bounds_beside_the_network_is_found(kernel: Path, name: str) -> None:
    done = run(kernel, "-c", TERMS_OUT_OF_BOUNDS % {"name": name})
    assert done.returncode < 0, done.stdout + done.stderr
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "nordiq_terms" in done.stderr


def test_the_kernel_s_own_tests_find_nothing(kernel: Path) -> None:
    """Of the networks, small ones of every shape: large ones take minutes and the same paths."""
    files = [str(HERE / name) for name in ("test_native.py", "test_forward.py")]
    files += [str(HERE / "terms" / "test_native_terms.py"), str(HERE.parent / "training" / "test_native_loss.py")]
    left_out = ("folded", "static", "debug", "processor", "hidden", "float64-0.0", "200")
    done = run(kernel, "-m", "pytest", "-v", *files, "-k", " and ".join(f"not {word}" for word in left_out))
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert f"kernel: {kernel}" in done.stdout


def test_the_scanner_s_own_tests_find_nothing(kernel: Path) -> None:
    done = run(kernel, "-m", "pytest", "-v", str(HERE.parent / "ingest" / "test_feed_scanner.py"))
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_writer_s_own_tests_find_nothing(kernel: Path) -> None:
    done = run(kernel, "-m", "pytest", "-v", str(HERE.parent / "json_rows" / "test_rows.py"))
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
