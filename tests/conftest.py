"""For all tests: Hypothesis without deadlines (no test judges speed) and, in CI, with the same examples every time.

With EAGER_SWITCHING in the environment (`make test-threads`) Python changes threads as often as it can, here and in
every process that a test starts: races that are rare at the usual 5 ms become likely.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")

pytest_plugins = ["support.skips"]

_THREAD_MODULES = {"threading", "ThreadPoolExecutor"}

if os.environ.get("EAGER_SWITCHING"):
    sys.setswitchinterval(1e-6)
    eager = Path(__file__).parent / "support" / "eager"  # its sitecustomize does the same in other processes
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(eager), os.environ.get("PYTHONPATH"))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test as `threads` whose file makes threads of its own."""
    for item in items:
        if isinstance(item, pytest.Function) and _THREAD_MODULES & vars(item.module).keys():
            item.add_marker("threads")
