"""Tests that use a GPU where there is one."""

from __future__ import annotations

import pytest
import torch

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

DEVICES = ["cpu", pytest.param("cuda", marks=needs_a_gpu)]
