"""A disk that refuses, also root, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def blocked(directory: Path) -> Iterator[None]:
    """Nothing in this directory can be opened or made; afterwards it is what it was, or not there."""
    away = directory.with_name(f"{directory.name}-away")
    if directory.exists():
        directory.rename(away)
    directory.write_text("in the way")
    yield
    directory.unlink()
    if away.exists():
        away.rename(directory)
