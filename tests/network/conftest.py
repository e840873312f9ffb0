"""The kernel under test, and the cases in which the network is compared with pytorch-forecasting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.network_cases import CASES, Case

from nordiq_watch.network import native_library

if kernel := os.environ.get("NORDIQ_TEST_KERNEL"):  # sanitized.py
    native_library.DIRECTORY = Path(kernel)


def pytest_report_header() -> str:
    return f"kernel: {native_library.DIRECTORY}"


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]
