"""Loads the compiled kernel and declares the structs through which it is called.

The structs mirror `kernel/structs.h`. The library exports the sizes and offsets it was compiled with; any difference is
detected at load.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

log = logging.getLogger(__name__)

LANES = {16: "avx512", 8: "avx2", 4: "baseline"}
"""Floats per vector register, and the instructions that have such registers."""

PACK = 8
"""Outputs stored side by side in a packed weight matrix."""

DIRECTORY = Path(__file__).parent
"""Where an installation puts the kernel."""

_VERSION = 4  # kernel/structs.h says when it is raised
_POINTER = ctypes.c_void_p


class Struct(ctypes.Structure):
    """One of the structs of kernel/structs.h, with its fields in the same order."""


class Dense(Struct):
    _fields_: ClassVar = [
        ("weight", _POINTER),
        ("bias", _POINTER),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    ]


class LayerNorm(Struct):
    _fields_: ClassVar = [("gain", _POINTER), ("offset", _POINTER)]


class GateAddNorm(Struct):
    _fields_: ClassVar = [("dense", Dense), ("norm", LayerNorm)]


class GRN(Struct):
    _fields_: ClassVar = [("first", Dense), ("gate", GateAddNorm)]


class VSN(Struct):
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


class Network(Struct):
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


class Call(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("servers", "encoder", "horizon", "reals", "categoricals")),
        *((name, _POINTER) for name in ("lengths", "past", "future", "past_categoricals", "future_categoricals")),
        *((name, _POINTER) for name in ("past_shared", "future_shared", "past_context", "future_context")),
        *((name, _POINTER) for name in ("begin_hidden", "begin_cell", "enrichment", "out")),
        *((name, ctypes.c_int64) for name in ("threads", "lanes")),
    ]


STRUCTS: tuple[type[Struct], ...] = (Dense, LayerNorm, GateAddNorm, GRN, VSN, Network, Call)


class _Field(Struct):
    """An entry of the library's own list, whose struct is in kernel/fields.h."""

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
    """The compiled kernel; None, with a log line, if there is none. directory: where to look instead of DIRECTORY."""
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


def kernel_name(library: ctypes.CDLL, lanes: int) -> str:
    """The kernel and the instructions that it uses. lanes: at most that many floats per register; 0 = all."""
    best = int(library.nordiq_lanes())
    return f"native-{LANES[min(lanes or best, best)]}"


def _check(library: ctypes.CDLL) -> None:
    """Raises OSError if the library's version or layout shows that it was built from other sources."""
    names = ("nordiq_version", "nordiq_pack", "nordiq_layout")
    if not all(hasattr(library, name) for name in names) or library.nordiq_version() != _VERSION:
        raise OSError("it was built from another version of network/kernel")
    if (pack := library.nordiq_pack()) != PACK:
        raise OSError(f"it packs weights by {pack}, not by {PACK}")
    check_layout(library.nordiq_layout, describe_layout(STRUCTS), where=Path(__file__).name)


def check_part(
    library: ctypes.CDLL, part: str, *, entry: str, version: int, structs: Iterable[type[Struct]], where: str
) -> None:
    """Raises OSError if this part's version or layout shows that it was built from other sources.

    part: the folder below `kernel`, after which its functions are named. entry: the function that does its work.
    where: the file that declares `structs`.
    """
    prefix = f"nordiq_{part}"
    names = (f"{prefix}_version", f"{prefix}_layout", entry)
    if not all(hasattr(library, name) for name in names) or getattr(library, names[0])() != version:
        raise OSError(f"it was built from another version of network/kernel/{part}")
    check_layout(getattr(library, names[1]), describe_layout(structs), where=where)


def check_layout(exported: Any, ours: Layout, *, where: str) -> None:
    """Raises OSError unless the library's function `exported` lists exactly the layout `ours`, declared in `where`."""
    theirs = dict(_read_layout(exported))
    for name in {**theirs, **ours}:
        if theirs.get(name) != ours.get(name):
            raise OSError(f"its {name} is {_tell(theirs.get(name))}, in {where} it is {_tell(ours.get(name))}")


def _read_layout(exported: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    exported.restype = ctypes.POINTER(_Field)
    for field in exported():
        if field.structure is None:
            return
        name = field.structure if field.name is None else field.structure + b"." + field.name
        yield name.decode(), (field.offset, field.size)


def describe_layout(structs: Iterable[type[Struct]]) -> Layout:
    """The layout of these structs as ctypes has it."""
    layout = {}
    for struct in structs:
        layout[struct.__name__] = (0, ctypes.sizeof(struct))
        for name, *_ in struct._fields_:
            field = getattr(struct, name)
            layout[f"{struct.__name__}.{name}"] = (field.offset, field.size)
    return layout


def _tell(place: tuple[int, int] | None) -> str:
    return "absent" if place is None else f"{place[1]} bytes at {place[0]}"
