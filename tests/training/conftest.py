from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from support.small_fleet import GOOGLE_FLEET

from nordiq_watch.network import native_library

if kernel := os.environ.get("NORDIQ_TEST_KERNEL"):  # tests/network/sanitized.py
    native_library.DIRECTORY = Path(kernel)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small are not faster with more, and threads that wait for each other slow a busy machine down."""
    torch.set_num_threads(1)


@pytest.fixture
def google_fleet() -> Path:
    if not GOOGLE_FLEET.is_dir():
        pytest.skip(f"the google-fleet dataset is not at {GOOGLE_FLEET}")
    return GOOGLE_FLEET
