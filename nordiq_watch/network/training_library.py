"""Declares the structs of `kernel/training/structs.h`, through which the compiled training step is called.

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

_VERSION = 2  # kernel/training/structs.h says when it is raised
_POINTER = ctypes.c_void_p


class Linear(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("weight", "bias", "outputs", "inputs")),
    ]


class Norm(Struct):
    _fields_: ClassVar = [
        ("gain", ctypes.c_int64),
        ("offset", ctypes.c_int64),
    ]


class Gate(Struct):
    _fields_: ClassVar = [
        ("linear", ctypes.c_int64),
        ("dropout", ctypes.c_int64),
        ("norm", Norm),
    ]


class Residual(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("first", "context", "second")),
        ("gate", Gate),
    ]


class Resample(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("mask", "rule", "linear")),
        ("norm", Norm),
    ]


class Variable(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("column", "width", "block", "scale", "shift", "table", "classes")),
        ("derived", ctypes.c_int64),
        ("network", Residual),
        ("resample", Resample),
    ]


class Selection(Struct):
    _fields_: ClassVar = [
        ("count", ctypes.c_int64),
        ("variables", _POINTER),
        ("weighting", Residual),
        ("skip", Resample),
    ]


class Recurrent(Struct):
    _fields_: ClassVar = [
        ("input", ctypes.c_int64),
        ("state", ctypes.c_int64),
    ]


class TrainedNetwork(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("hidden", "layers", "heads", "head", "causal", "targets", "outputs")),
        *((name, ctypes.c_int64) for name in ("parameters", "derived", "linear_count")),
        ("linears", _POINTER),
        ("constants", _POINTER),
        *((name, Selection) for name in ("statics", "encoder", "decoder")),
        ("contexts", Residual * 4),
        ("encoder_lstm", _POINTER),
        ("decoder_lstm", _POINTER),
        ("post_lstm", Gate),
        ("enrichment", Residual),
        ("queries", _POINTER),
        ("keys", _POINTER),
        ("values", ctypes.c_int64),
        ("merge", ctypes.c_int64),
        ("post_attention", Gate),
        ("feed_forward", Residual),
        ("pre_output", Gate),
        ("output", _POINTER),
    ]


class TrainingBatch(Struct):
    _fields_: ClassVar = [
        *((name, ctypes.c_int64) for name in ("windows", "encoder", "horizon", "reals", "categoricals")),
        *((name, _POINTER) for name in ("lengths", "past", "future", "past_categoricals", "future_categoricals")),
        *((name, _POINTER) for name in ("truth", "scales", "rectified", "quantile_counts", "quantiles", "weights")),
        *((name, _POINTER) for name in ("parameters", "gradients")),
        ("loss", ctypes.c_double),
        ("dropout", ctypes.c_double),
        ("seed", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("lanes", ctypes.c_int64),
    ]


STRUCTS: tuple[type[Struct], ...] = (
    Linear,
    Norm,
    Gate,
    Residual,
    Resample,
    Variable,
    Selection,
    Recurrent,
    TrainedNetwork,
    TrainingBatch,
)


@cache
def load_training_library(directory: Path | None = None) -> ctypes.CDLL | None:
    """The compiled training step; None if there is none, and with a log line if it was built from other sources.

    directory: where to look instead of `native_library.DIRECTORY`.
    """
    library = native_library.load_library(directory)
    if library is None:
        return None
    try:
        check_part(
            library,
            "training",
            entry="nordiq_training_step",
            version=_VERSION,
            structs=STRUCTS,
            where=Path(__file__).name,
        )
    except OSError as error:
        log.warning("the native training step cannot be used (%s): training is done by torch", error)
        return None
    library.nordiq_training_begin.restype = ctypes.c_void_p
    library.nordiq_training_begin.argtypes = [ctypes.POINTER(TrainedNetwork)]
    library.nordiq_training_end.restype = None
    library.nordiq_training_end.argtypes = [ctypes.c_void_p]
    library.nordiq_training_step.restype = ctypes.c_int
    library.nordiq_training_step.argtypes = [ctypes.c_void_p, ctypes.POINTER(TrainingBatch)]
    return library
