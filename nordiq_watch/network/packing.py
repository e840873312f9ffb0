"""Numbers and structs laid out in memory as the compiled kernel reads them, and kept there."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nordiq_watch.network import native_library as kernel
from nordiq_watch.network.native_library import PACK


class Kept:
    """Memory to which the structs of one network point. Its addresses are good as long as this object."""

    def __init__(self) -> None:
        self._arrays: list[Any] = []

    def array(self, array: NDArray[Any]) -> int:
        """The address of these numbers."""
        kept = np.ascontiguousarray(array)
        self._arrays.append(kept)
        return int(kept.ctypes.data)

    def floats(self, tensor: Tensor) -> int:
        """The address of these numbers in float32."""
        return self.array(tensor.detach().numpy().astype(np.float32, copy=False))

    def dense(self, weight: Tensor, bias: Tensor) -> kernel.Dense:
        """y = weight x + bias. weight (outputs, inputs), bias (outputs,)."""
        outputs, inputs = weight.shape
        return kernel.Dense(self.array(pack(weight)), self.floats(bias), outputs, inputs)

    def structs(self, denses: Iterable[kernel.Dense]) -> int:
        """The address of an array of them."""
        listed = list(denses)
        array = (kernel.Dense * len(listed))(*listed)
        self._arrays.append(array)
        return ctypes.addressof(array)


def pack(weight: Tensor) -> NDArray[np.float32]:
    """(outputs, inputs) → (outputs / PACK, inputs, PACK), the last pack padded with zeros."""
    outputs, inputs = weight.shape
    packs = -(-outputs // PACK)
    padded = np.zeros((packs * PACK, inputs), dtype=np.float32)
    padded[:outputs] = weight.detach().numpy()
    return np.ascontiguousarray(padded.reshape(packs, PACK, inputs).swapaxes(1, 2))
