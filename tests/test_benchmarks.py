"""What benchmarks say of the daemon's inside is still there: `benchmarks/million.py` wraps stages and walks parts."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

_BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(_BENCHMARKS), *sys.path])
    return import_module


def _find(module: str, path: str) -> Any:
    found: Any = import_module(f"nordiq_watch.{module}")
    for name in path.split("."):
        found = getattr(found, name)
    return found


def test_every_stage_of_a_tick_that_is_timed_is_there(load: Any) -> None:
    places = load("timed_daemon").STAGES
    assert all(callable(_find(*place.split(":"))) for place in places)


def test_every_part_of_the_memory_begins_at_a_class(load: Any) -> None:
    places = [place.split(":") for place in load("memory_parts").PARTS]
    assert all(isinstance(_find(module, path.split(".")[0]), type) for module, path in places)


class _Holder:
    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


def test_an_object_counts_once_with_the_part_that_reaches_it_first(load: Any) -> None:
    parts: ModuleType = load("memory_parts")
    shared = np.zeros(1 << 20)
    own = np.zeros(1 << 10)
    first, second = _Holder(shown=shared[::2].T), _Holder(held=[shared, lambda: shared], own=own)
    walk = parts._Walk([("first", [first]), ("second", [second])])
    sizes = [walk.take(first), walk.take(second)]
    assert 0 <= sizes[0] - shared.nbytes < 4096
    assert 0 <= sizes[1] - own.nbytes < 4096


def test_a_walk_ends_where_another_part_begins(load: Any) -> None:
    parts: ModuleType = load("memory_parts")
    inner = np.zeros(1 << 20)
    walk = parts._Walk([("outer", [outer := _Holder(inner=inner)]), ("inner", [inner])])
    assert walk.take(outer) < 4096
    assert inner.nbytes <= walk.take(inner) < inner.nbytes + 4096
