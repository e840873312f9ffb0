"""The kernel under AddressSanitizer and UndefinedBehaviorSanitizer: `make test-sanitizers`, which needs g++.

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
SOURCE = REPOSITORY / "nordiq_watch" / "network" / "kernel" / "native.cpp"
FLAGS = (
    "-O1", "-g", "-std=c++17", "-pthread", "-shared", "-fPIC", "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
)  # fmt: skip
MINUTES = 10


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the library."""
    compiler = shutil.which("g++") or pytest.fail("g++ is not installed")
    place = tmp_path_factory.mktemp("sanitized")
    subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(place / "_native.so")], check=True)
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


@pytest.mark.timeout(60 * MINUTES)
def test_the_kernel_s_own_tests_find_nothing(kernel: Path) -> None:
    """Of the networks, small ones of every shape: large ones take minutes and the same paths."""
    files = [str(HERE / name) for name in ("test_native.py", "test_forward.py")]
    left_out = ("folded", "static", "debug", "processor", "hidden", "float64-0.0")
    done = run(kernel, "-m", "pytest", "-v", *files, "-k", " and ".join(f"not {word}" for word in left_out))
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]
    assert f"kernel: {kernel}" in done.stdout
