"""The compiled kernel: the structs through which it is called, and whether it is the one that they describe.

The structs mirror `kernel/structs.h`. The library lists the sizes and offsets that it was compiled with, and a
difference is found when it is loaded.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import ClassVar

log = logging.getLogger(__name__)

LANES = {16: "avx512", 8: "avx2", 4: "baseline"}
"""Floats per vector register, and the instructions that have such registers."""

PACK = 8
"""Outputs that stand together in a packed weight."""

DIRECTORY = Path(__file__).parent
"""Where an installation puts the kernel."""

_VERSION = 4  # kernel/structs.h says when it is raised
_POINTER = ctypes.c_void_p


class _Struct(ctypes.Structure):
    """One of the structs of kernel/structs.h; the fields stand in its order."""


class Dense(_Struct):
    _fields_: ClassVar = [
        ("weight", _POINTER),
        ("bias", _POINTER),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    ]


class LayerNorm(_Struct):
    _fields_: ClassVar = [("gain", _POINTER), ("offset", _POINTER)]


class GateAddNorm(_Struct):
    _fields_: ClassVar = [("dense", Dense), ("norm", LayerNorm)]


class GRN(_Struct):
    _fields_: ClassVar = [("first", Dense), ("gate", GateAddNorm)]


class VSN(_Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("own", "shared", "categoricals", "variables", "width", "flat")),
        *((name, _POINTER) for name in ("real_columns", "categorical_columns", "classes")),
        *((name, _POINTER) for name in ("a", "c", "u", "d", "bend", "middle", "least", "residual_offset")),
        *((name, _POINTER) for name in ("gain", "offset", "matrix", "bias", "tables")),
        ("first", Dense),
        ("skip", Dense),
        ("skip_resampled", ctypes.c_int64),
        ("skip_norm", LayerNorm),
        ("gate", GateAddNorm),
    ]


class Network(_Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("hidden", "layers", "heads", "head", "causal")),
        ("encoder", VSN),
        ("decoder", VSN),
        *((name, _POINTER) for name in ("encoder_input", "encoder_state", "decoder_input", "decoder_state")),
        ("post_lstm", GateAddNorm),
        ("enrichment", GRN),
        ("queries", Dense),
        ("keys", Dense),
        ("values", Dense),
        ("post_attention", GateAddNorm),
        ("feed_forward", GRN),
        ("pre_output", GateAddNorm),
        ("output", Dense),
    ]


class Call(_Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("servers", "encoder", "horizon", "reals", "categoricals")),
        *((name, _POINTER) for name in ("lengths", "past", "future", "past_categoricals", "future_categoricals")),
        *((name, _POINTER) for name in ("past_shared", "future_shared", "past_context", "future_context")),
        *((name, _POINTER) for name in ("begin_hidden", "begin_cell", "enrichment", "out")),
        *((name, ctypes.c_int64) for name in ("threads", "lanes")),
    ]


STRUCTS: tuple[type[_Struct], ...] = (Dense, LayerNorm, GateAddNorm, GRN, VSN, Network, Call)


class _Field(_Struct):
    """An entry of the library's own list, which kernel/layout.h makes."""

    _fields_: ClassVar = [
        ("structure", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("offset", ctypes.c_int64),
        ("size", ctypes.c_int64),
    ]


Layout = Mapping[str, tuple[int, int]]
""""Struct.field", or "Struct" for a whole one → offset and size, in bytes."""


@cache
def load_library(directory: Path | None = None) -> ctypes.CDLL | None:
    """The compiled kernel; None, and a line in the log, where there is none. directory: else DIRECTORY."""
    found = sorted((directory or DIRECTORY).glob("_native*.so"))
    if not found:
        log.info(
            "no native kernel is built: forecasts are computed by torch. Install again with a C++ compiler at hand."
        )
        return None
    try:
        library = ctypes.CDLL(str(found[0]))
        _check(library)
    except OSError as error:
        log.warning("the native kernel cannot be loaded (%s): forecasts are computed by torch", error)
        return None
    library.nordiq_lanes.restype = ctypes.c_int64
    library.nordiq_forward.restype = ctypes.c_int
    library.nordiq_forward.argtypes = [ctypes.POINTER(Network), ctypes.POINTER(Call)]
    return library


def _check(library: ctypes.CDLL) -> None:
    """OSError if the library was built from other sources than these, as far as its version and layout show."""
    names = ("nordiq_version", "nordiq_pack", "nordiq_layout")
    if not all(hasattr(library, name) for name in names) or library.nordiq_version() != _VERSION:
        raise OSError("it was built from another version of network/kernel")
    if (pack := library.nordiq_pack()) != PACK:
        raise OSError(f"it packs weights by {pack}, not by {PACK}")
    theirs, ours = dict(_read_layout(library)), dict(_describe_layout())
    for name in {**theirs, **ours}:
        if theirs.get(name) != ours.get(name):
            raise OSError(
                f"its {name} is {_tell(theirs.get(name))}, in native_library.py it is {_tell(ours.get(name))}"
            )


def _read_layout(library: ctypes.CDLL) -> Iterator[tuple[str, tuple[int, int]]]:
    library.nordiq_layout.restype = ctypes.POINTER(_Field)
    for field in library.nordiq_layout():
        if field.structure is None:
            return
        name = field.structure if field.name is None else field.structure + b"." + field.name
        yield name.decode(), (field.offset, field.size)


def _describe_layout() -> Iterator[tuple[str, tuple[int, int]]]:
    for struct in STRUCTS:
        yield struct.__name__, (0, ctypes.sizeof(struct))
        for name, *_ in struct._fields_:
            field = getattr(struct, name)
            yield f"{struct.__name__}.{name}", (field.offset, field.size)


def _tell(place: tuple[int, int] | None) -> str:
    return "absent" if place is None else f"{place[1]} bytes at {place[0]}"
