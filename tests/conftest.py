"""For all tests: Hypothesis without deadlines (no test judges speed) and, in CI, with the same examples every time.

Tests may run in several processes at once (`make test` has one per core), so each has one thread for its networks.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; processes that tests start inherit it

import pytest
from hypothesis import settings

settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")

pytest_plugins = ["support.loggers", "support.skips", "support.switching"]

_THREAD_MODULES = {"threading", "ThreadPoolExecutor"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks every test as `threads` whose file makes threads of its own; with pytest-xdist, slow files come first.

    What takes long begins early, and quick files even out what the processes have left at the end.
    """
    for item in items:
        if isinstance(item, pytest.Function) and _THREAD_MODULES & vars(item.module).keys():
            item.add_marker("threads")
    if hasattr(config, "workerinput"):
        slow_files = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow_files)  # stable: the order within a file stays
