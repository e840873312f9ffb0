"""Tests that use a GPU where there is one. `make test-gpu` runs these alone: they have the mark `gpu`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

HAS_GPU = torch.cuda.is_available()
_MARKS = [pytest.mark.gpu, pytest.mark.skipif(not HAS_GPU, reason="there is no GPU here")]

DEVICES = ["cpu", pytest.param("cuda", marks=_MARKS)]


def needs_a_gpu(test: Any) -> Any:
    """Decorates a test or a class of tests."""
    for mark in _MARKS:
        test = mark(test)
    return test
