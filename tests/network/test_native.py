"""The C++ file by itself, with whatever compiler an installation finds. test_forward.py holds what it computes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from support.networks import network_spec, random_weights
from support.variety import as_inputs, build, inputs_of

from nordiq_watch.network import native as native_module
from nordiq_watch.network.forward import PlainForward
from nordiq_watch.network.native import LANES, NativeForward, load_library

SOURCE = Path(native_module.__file__).with_name("native.cpp")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_it_is_built_for_every_processor_of_its_kind(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"there is no {compiler}")
    flags = ["-O1", "-std=c++17", "-Wall", "-Wno-psabi", "-Werror", "-pthread", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, str(SOURCE), "-o", str(tmp_path / "_native.so")], check=True)
    library = load_library(tmp_path)
    assert library is not None
    spec = network_spec()
    network, inputs = build(spec, random_weights(spec)), as_inputs(inputs_of(spec))
    expected = PlainForward(network).run(inputs)
    for lanes, name in LANES.items():
        forward = NativeForward(network, library, lanes=lanes)
        if lanes <= library.nordiq_lanes():
            assert forward.name == f"native-{name}"
        torch.testing.assert_close(forward.run(inputs), expected, rtol=0, atol=1e-5)


def test_it_takes_the_widest_registers_that_the_processor_has() -> None:
    library = load_library()
    if library is None:
        pytest.skip("no native kernel is built: there was no C++ compiler at the installation")
    known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    needed = {16: {"avx512f", "avx512dq", "avx512bw", "avx512vl"}, 8: {"avx2", "fma"}, 4: set()}
    flags = set(known.partition("\nflags")[2].partition("\n")[0].split())
    assert library.nordiq_lanes() == max(lanes for lanes, names in needed.items() if names <= flags)
