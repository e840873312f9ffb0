"""Declares the structs of `kernel/terms/structs.h`, through which the compiled blend is called.

The library exports the sizes and offsets it was compiled with; any difference is detected at load.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path
from typing import ClassVar

from nordiq_watch.network import native_library
from nordiq_watch.network.native_library import Struct, check_part

log = logging.getLogger(__name__)

_VERSION = 1  # kernel/terms/structs.h says when it is raised
_POINTER = ctypes.c_void_p


class LinearTerm(Struct):
    _fields_: ClassVar = [("floor", _POINTER), ("maps", _POINTER)]


class RowsTerm(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("hidden", "layers", "daily")),
        *((name, _POINTER) for name in ("floor", "window_mean", "window_rate", "step_mean", "step_rate")),
        *((name, _POINTER) for name in ("window", "step", "inner", "gate", "output")),
    ]


class Terms(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("targets", "horizon", "quantiles", "slots", "day", "median")),
        ("linear", LinearTerm),
        ("rows", RowsTerm),
        *((name, _POINTER) for name in ("network_weight", "linear_weight", "rows_weight", "calibration")),
    ]


class TermsCall(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("windows", "encoder", "metrics")),
        *((name, _POINTER) for name in ("lengths", "values", "time_of_day", "steps", "network", "out")),
        *((name, ctypes.c_int64) for name in ("threads", "lanes")),
    ]


STRUCTS: tuple[type[Struct], ...] = (LinearTerm, RowsTerm, Terms, TermsCall)


@cache
def load_terms_library(directory: Path | None = None) -> ctypes.CDLL | None:
    """The compiled blend; None if there is none, and with a log line if it was built from other sources.

    directory: where to look instead of `native_library.DIRECTORY`.
    """
    library = native_library.load_library(directory)
    if library is None:
        return None
    try:
        check_part(library, "terms", entry="nordiq_terms", version=_VERSION, structs=STRUCTS, where=Path(__file__).name)
    except OSError as error:
        log.warning("the native blend cannot be used (%s): what extras add is computed by torch", error)
        return None
    library.nordiq_terms.restype = ctypes.c_int
    library.nordiq_terms.argtypes = [ctypes.POINTER(Terms), ctypes.POINTER(TermsCall)]
    return library
