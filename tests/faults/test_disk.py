"""A disk that fails at any one call, or at several in a row: nothing is refused for it, and the version goes live when
it works again. The calls are those that Python makes; time is stepped.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.models import drop_model
from support.yard import Yard

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
LONG_ENOUGH_SECONDS = 20


class Disk:
    """Counts the calls about files below `directory`, and lets `failures` of them fail, from the `first` on."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = str(directory)
        self.calls: list[str] = []
        self.first, self.failures = 0, 0
        self.error: type[BaseException] | OSError = OSError()
        self._ours: set[int] = set()
        self._real_open = os.open
        for name in ("stat", "listdir", "fstat", "lseek"):
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))
        monkeypatch.setattr(os, "open", self._open)
        monkeypatch.setattr(os, "fdopen", self._opened(os.fdopen))

    def fail(self, first: int, *, times: int, error: type[BaseException] | OSError) -> None:
        self.calls.clear()
        self.first, self.failures, self.error = first, times, error

    def call(self, name: str) -> None:
        self.calls.append(name)
        if self.first < len(self.calls) <= self.first + self.failures:
            raise self.error

    def _is_ours(self, file: Any) -> bool:
        return file in self._ours if isinstance(file, int) else os.fspath(file).startswith(self.directory)

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, *rest: Any, **options: Any) -> Any:
            if self._is_ours(file):
                self.call(name)
            return real(file, *rest, **options)

        return call

    def _open(self, path: Any, *rest: Any, **options: Any) -> int:
        ours = self._is_ours(path)
        if ours:
            self.call("open")
        descriptor = self._real_open(path, *rest, **options)
        (self._ours.add if ours else self._ours.discard)(descriptor)
        return descriptor

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def fdopen(descriptor: int, *rest: Any, **options: Any) -> Any:
            return FailingFile(self, descriptor) if descriptor in self._ours else real(descriptor, *rest, **options)

        return fdopen


class FailingFile(io.FileIO):
    def __init__(self, disk: Disk, descriptor: int) -> None:
        super().__init__(descriptor, "rb")
        self._disk = disk

    def read(self, size: int | None = -1, /) -> Any:
        self._disk.call("read")
        return super().read(size)

    def readinto(self, buffer: Any, /) -> Any:
        self._disk.call("readinto")
        return super().readinto(buffer)


class Place:
    """A first version is live, and a second one is dropped on a disk that may fail."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *, hashes: bool) -> None:
        models = root / "models"
        models.mkdir(parents=True)
        self.yard = Yard(models, root / "state")
        self.yard.drop(A)
        self.yard.look()
        drop_model(root / "shelf", B, shift=0.1, hashes=hashes).rename(models / B)
        self.disk = Disk(models, monkeypatch)

    def look_until_live(self) -> None:
        """Once because of an event, and then only when the worker itself thinks that it is worth it."""
        self.yard.look()
        end = self.yard.now + LONG_ENOUGH_SECONDS
        while self.yard.live_name != B:
            assert (self.yard.live_name, self.yard.generation, self.yard.store.current.refusals) == (A, 1, {})
            assert self.yard.now < end, "it was never tried again"
            self.yard.pass_time(0.5)


@pytest.mark.parametrize(
    ("error", "times", "hashes"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), 1, False),
        (OSError(errno.ESTALE, os.strerror(errno.ESTALE)), 3, True),
        (MemoryError, 1, True),
    ],
    ids=["EIO once, no hashes", "ESTALE thrice", "out of memory"],
)
def test_whichever_call_fails_the_version_goes_live_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, times: int, hashes: bool
) -> None:
    with monkeypatch.context() as patched:
        whole = Place(tmp_path / "whole", patched, hashes=hashes)
        whole.look_until_live()
    calls = list(whole.disk.calls)
    assert {"listdir", "stat", "open", "fstat", "read", "readinto"} <= set(calls)
    for number, name in enumerate(calls):
        if error is MemoryError and name not in ("open", "read", "readinto"):
            continue  # those that need memory worth the name
        with monkeypatch.context() as patched:
            place = Place(tmp_path / f"{number}", patched, hashes=hashes)
            place.disk.fail(number, times=times, error=error)
            place.look_until_live()
            assert place.disk.calls[number] == name, "it took another way and did not fail where it should"
            assert (place.yard.generation, place.yard.store.current.refusals) == (2, {})
