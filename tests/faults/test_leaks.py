"""Hundreds of reloads in one process: nothing may stay behind, of the good ones as of the bad ones."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import weakref
from pathlib import Path

import pytest
from support.length import at_length
from support.models import larger_spec, tiny_weights
from support.specs import mapping_of
from support.yard import Yard

from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.spec import TrainingInfo

pytestmark = [pytest.mark.slow, pytest.mark.long]

RELOADS = at_length(500, short=150)
SETTLED_AFTER = 20
"""Reloads until all that is allocated once has been allocated."""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Supply:
    """Drops one version after the other, each newer, and takes the last but two away again."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir
        self.spec = larger_spec()
        self.good = tiny_weights(self.spec, seed=1)
        self.reversed = tiny_weights(self.spec, seed=1, band=-3.0)
        self.number = 0

    def drop(self, weights: bytes) -> str:
        self.number += 1
        name = self.name_of(self.number)
        write_model_directory(
            self.models_dir,
            name=name,
            weights=weights,
            spec=self.spec,
            mapping=mapping_of("ppdb001", version=name),
            info=TrainingInfo(),
        )
        shutil.rmtree(self.models_dir / self.name_of(self.number - 3), ignore_errors=True)
        return name

    @staticmethod
    def name_of(number: int) -> str:
        return f"tft_model_20250101_{number // 3600 % 24:02}{number // 60 % 60:02}{number % 60:02}"


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    (tmp_path / "models").mkdir()
    return Yard(tmp_path / "models", tmp_path / "state")


def assert_nothing_stays(yard: Yard, weights: str, *, goes_live: bool) -> None:
    supply = Supply(yard.models_dir)
    yard.drop("tft_model_20240101_000000", spec=supply.spec)
    yard.look()
    before, files, threads = 0, 0, 0
    for number in range(RELOADS):
        name = supply.drop(getattr(supply, weights))
        yard.look()
        assert (yard.live_name == name) is goes_live
        if number == SETTLED_AFTER:
            gc.collect()
            before, files, threads = resident_bytes(), open_files(), threading.active_count()
    gc.collect()
    assert open_files() <= files
    assert threading.active_count() <= threads
    assert resident_bytes() <= 1.1 * before


def test_good_reloads_leave_nothing_behind(yard: Yard) -> None:
    assert_nothing_stays(yard, "good", goes_live=True)
    assert yard.generation == RELOADS + 1


def test_failed_reloads_leave_nothing_behind(yard: Yard) -> None:
    assert_nothing_stays(yard, "reversed", goes_live=False)
    assert yard.generation == 1


def test_a_replaced_model_is_freed_and_only_the_one_before_is_kept(yard: Yard) -> None:
    supply = Supply(yard.models_dir)
    references = []
    for _ in range(10):
        supply.drop(supply.good)
        yard.look()
        references.append(weakref.ref(yard.live.peek()))
        yard.answers.tried.clear()
    gc.collect()
    alive = [number for number, reference in enumerate(references) if reference() is not None]
    assert alive == [8, 9]
