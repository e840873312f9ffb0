"""The C++ kernel by itself, and the border where Python hands it addresses. test_forward.py holds what it computes."""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from support.networks import network_spec, random_weights, shake
from support.variety import as_inputs, build, inputs_of

from nordiq_watch.network import native, native_library
from nordiq_watch.network.features import Inputs
from nordiq_watch.network.forward import PlainForward
from nordiq_watch.network.native import NativeForward
from nordiq_watch.network.native_library import LANES, load_library

KERNEL = Path(native.__file__).with_name("kernel")
SOURCES = [str(path) for path in sorted(KERNEL.rglob("*.cpp"))]
NOT_BUILT = "no native kernel is built: there was no C++ compiler at the installation"


@pytest.fixture(scope="module", params=["g++", "clang++"])
def debug_build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a library that one compiler made without a warning, with its assertions left in."""
    if shutil.which(request.param) is None:
        pytest.skip(f"there is no {request.param}")
    place = tmp_path_factory.mktemp("kernel")
    flags = ["-O1", "-std=c++17", "-Wall", "-Wextra", "-Wno-psabi", "-Werror", "-pthread", "-shared", "-fPIC"]
    subprocess.run([request.param, *flags, *SOURCES, "-o", str(place / "_native.so")], check=True)
    return place


@pytest.mark.slow
def test_it_is_built_for_every_processor_of_its_kind(debug_build: Path) -> None:
    library = load_library(debug_build)
    assert library is not None
    spec = network_spec()
    network, inputs = build(spec, random_weights(spec)), as_inputs(inputs_of(spec))
    expected = PlainForward(network).run(inputs)
    for lanes, name in LANES.items():
        forward = NativeForward(network, library, lanes=lanes)
        if lanes <= library.nordiq_lanes():
            assert forward.name == f"native-{name}"
        torch.testing.assert_close(forward.run(inputs), expected, rtol=0, atol=1e-5)


UNCHECKED = """
import sys, types
from pathlib import Path
from nordiq_watch.network import native
from nordiq_watch.network.native_library import load_library
from support.networks import network_spec, random_weights
from support.variety import as_inputs, build, inputs_of

native.check_inputs = lambda arrays, spec: None
spec = network_spec()
inputs = inputs_of(spec)
status = spec.network.x_categoricals.index("status")
inputs["encoder_cat"][0, 1, status] = 1000
native.NativeForward(build(spec, random_weights(spec)), load_library(Path(sys.argv[1]))).run(as_inputs(inputs))
"""


@pytest.mark.slow
def test_a_debug_build_stops_at_a_code_that_got_past_the_border(debug_build: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNCHECKED, str(debug_build)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode < 0, "it came back"
    assert "vsn.classes[categorical]" in done.stderr


@pytest.fixture
def library() -> ctypes.CDLL:
    library = load_library()
    if library is None:
        pytest.skip(NOT_BUILT)
    return library


def test_it_takes_the_widest_registers_that_the_processor_has(library: ctypes.CDLL) -> None:
    known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    needed = {16: {"avx512f", "avx512dq", "avx512bw", "avx512vl"}, 8: {"avx2", "fma"}, 4: set()}
    flags = set(known.partition("\nflags")[2].partition("\n")[0].split())
    assert library.nordiq_lanes() == max(lanes for lanes, names in needed.items() if names <= flags)


def changed(inputs: Inputs, parts: Mapping[str, Any]) -> Inputs:
    return replace(inputs, **parts)


class TestTheMirroredStructs:
    """What a mirror that has fallen behind kernel/structs.h would look like."""

    class Swapped(native_library.Struct):
        _fields_: ClassVar = native_library.GateAddNorm._fields_[::-1]

    class Narrow(native_library.Struct):
        _fields_: ClassVar = [*native_library.Dense._fields_[:3], ("inputs", ctypes.c_int32)]

    class Short(native_library.Struct):
        _fields_: ClassVar = native_library.Call._fields_[:-1]

    class Longer(native_library.Struct):
        _fields_: ClassVar = [*native_library.LayerNorm._fields_, ("epsilon", ctypes.c_double)]

    @pytest.mark.parametrize(
        ("name", "mirror", "told"),
        [
            (
                "GateAddNorm",
                Swapped,
                "its GateAddNorm.dense is 32 bytes at 0, in native_library.py it is 32 bytes at 16",
            ),
            ("Dense", Narrow, "its Dense.inputs is 8 bytes at 24, in native_library.py it is 4 bytes at 24"),
            ("Call", Short, "its Call is "),
            ("LayerNorm", Longer, "its LayerNorm is 16 bytes at 0, in native_library.py it is 24 bytes at 0"),
        ],
    )
    def test_one_that_differs_is_not_used_and_the_log_names_the_field(
        self,
        library: ctypes.CDLL,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        name: str,
        mirror: type[ctypes.Structure],
        told: str,
    ) -> None:
        mirror = type(name, (mirror,), {})
        structs = tuple(mirror if struct.__name__ == name else struct for struct in native_library.STRUCTS)
        monkeypatch.setattr(native_library, "STRUCTS", structs)
        assert load_library.__wrapped__() is None
        assert f"the native kernel cannot be loaded ({told}" in caplog.text
        assert "forecasts are computed by torch" in caplog.text

    def test_weights_packed_otherwise_are_not_used(
        self, library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(native_library, "PACK", 4)
        assert load_library.__wrapped__() is None
        assert "it packs weights by 8, not by 4" in caplog.text


def _code(name: str, code: int) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        getattr(inputs, name)[-1, -1, 0] = code

    return spoil


def _length(length: int) -> Callable[[Inputs], None]:
    def spoil(inputs: Inputs) -> None:
        inputs.encoder_lengths[-1] = length

    return spoil


class TestTheBorder:
    """The kernel takes codes and lengths as indices: one that is out of range must not get there."""

    @pytest.fixture
    def forward(self, library: ctypes.CDLL) -> NativeForward:
        spec = network_spec()
        return NativeForward(build(spec, random_weights(spec)), library)

    @pytest.fixture
    def inputs(self) -> Inputs:
        return as_inputs({name: part.clone() for name, part in inputs_of(network_spec()).items()})

    @pytest.mark.parametrize(
        ("spoil", "told"),
        [
            (_code("encoder_cat", 1000), "code 1000 is none of them"),
            (_code("encoder_cat", -1), "code -1 is none of them"),
            (_code("decoder_cat", 1000), "code 1000 is none of them"),
            (_code("decoder_cat", -(2**63)), f"code {-(2**63)} is none of them"),
            (_length(0), "encoder lengths go from 0 to"),
            (_length(13), "to 13; 1 to 12 steps are there"),
        ],
    )
    def test_what_would_be_read_out_of_bounds_is_refused(
        self, forward: NativeForward, inputs: Inputs, spoil: Callable[[Inputs], None], told: str
    ) -> None:
        spoil(inputs)
        with pytest.raises(ValueError, match=told):
            forward.run(inputs)

    @pytest.mark.parametrize("name", ["encoder_cat", "decoder_cat"])
    def test_the_highest_code_of_each_label_is_read_and_the_next_is_not(
        self, library: ctypes.CDLL, inputs: Inputs, name: str
    ) -> None:
        spec = network_spec()
        forward = NativeForward(build(spec, random_weights(spec)), library)
        for column, label in enumerate(spec.network.x_categoricals):
            classes = spec.network.embedding_sizes[label][0]
            codes = getattr(inputs, name)
            codes[0, 0, column] = classes - 1
            forward.run(inputs)
            codes[0, 0, column] = classes
            with pytest.raises(ValueError, match=f"knows {classes} classes of {label}, code {classes} is none"):
                forward.run(inputs)
            codes[0, 0, column] = 0

    @pytest.mark.parametrize(
        ("name", "cut"),
        [
            ("encoder_cont", lambda tensor: tensor[..., :-1]),
            ("encoder_cont", lambda tensor: tensor.double()),
            ("encoder_cont", lambda tensor: tensor[:, :0]),
            ("decoder_cont", lambda tensor: tensor[:-1]),
            ("decoder_cont", lambda tensor: tensor[:, :-1]),
            ("encoder_cat", lambda tensor: tensor[:, :-1]),
            ("encoder_cat", lambda tensor: tensor.int()),
            ("decoder_cat", lambda tensor: tensor[..., :-1]),
            ("encoder_lengths", lambda tensor: tensor[:-1]),
        ],
    )
    def test_an_array_of_another_size_or_kind_is_refused(
        self, forward: NativeForward, inputs: Inputs, name: str, cut: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        with pytest.raises(ValueError, match="this network reads"):
            forward.run(changed(inputs, {name: cut(getattr(inputs, name))}))

    def test_arrays_that_are_not_contiguous_are_read_right(self, forward: NativeForward, inputs: Inputs) -> None:
        strided = {
            name: torch.stack([part, part], dim=-1)[..., 0]
            for name in ("encoder_cat", "encoder_cont", "encoder_lengths", "decoder_cat", "decoder_cont")
            if not (part := getattr(inputs, name)).isnan().any()
        }
        assert not strided["encoder_cont"].is_contiguous()
        torch.testing.assert_close(forward.run(changed(inputs, strided)), forward.run(inputs), rtol=0, atol=0)


M_PERTURB = -6
FE_OVERFLOW = 4 if platform.machine() == "aarch64" else 8


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize("lanes", LANES)
def test_memory_that_was_never_written_is_not_computed_with(library: ctypes.CDLL, lanes: int) -> None:
    """New memory is filled with 3.4e38, so that arithmetic on it overflows, which raises a flag."""
    spec = network_spec()
    network = build(spec, random_weights(spec))
    torch.manual_seed(1)
    shake(network, deviation=1.0)
    forward, inputs = NativeForward(network, library, lanes=lanes), as_inputs(inputs_of(spec))
    libc, libm = ctypes.CDLL(None), ctypes.CDLL("libm.so.6")
    flags = []

    def watched(*arguments: object) -> int:
        libm.feclearexcept(FE_OVERFLOW)
        result = library.nordiq_forward(*arguments)
        flags.append(libm.fetestexcept(FE_OVERFLOW))
        return int(result)

    forward._library = SimpleNamespace(nordiq_forward=watched)  # type: ignore[assignment]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the flags are those of the calling thread
    libc.mallopt(M_PERTURB, 0x80)
    try:
        output = forward.run(inputs)
    finally:
        libc.mallopt(M_PERTURB, 0)
        torch.set_num_threads(threads)
    assert flags == [0]
    assert bool(output.isfinite().all())
