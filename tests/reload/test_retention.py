from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from support.specs import write_whole_directory

from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.retention import JUST_DROPPED_SECONDS, choose_expired

NAMES = [f"tft_model_2025010{day}_000000" for day in (1, 2, 3, 4)]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for name in NAMES:
        write_whole_directory(tmp_path, name)
    return Catalogue(tmp_path)


def expired(catalogue: Catalogue, *, keep: int, needed: tuple[str, ...] = (), later: float) -> list[str]:
    """What `keep` deletes so many seconds after everything was dropped."""
    before = time.time() + later - JUST_DROPPED_SECONDS
    found = choose_expired(catalogue.scan(), keep=keep, needed=needed, arrived_before=before)
    return sorted(version.name for version in found)


def test_the_newest_and_those_that_are_needed_stay(catalogue: Catalogue) -> None:
    assert expired(catalogue, keep=2, later=2 * JUST_DROPPED_SECONDS) == NAMES[:2]
    assert expired(catalogue, keep=1, needed=(NAMES[0],), later=2 * JUST_DROPPED_SECONDS) == NAMES[1:3]


def test_what_was_dropped_within_the_hour_stays_however_old_its_name_is(catalogue: Catalogue) -> None:
    assert expired(catalogue, keep=1, later=JUST_DROPPED_SECONDS - 60) == []


def test_a_copy_that_keeps_its_old_times_was_dropped_all_the_same(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path, NAMES[0])
    for path in (*directory.iterdir(), directory):
        os.utime(path, (1_000_000.0, 1_000_000.0))
    (version,) = Catalogue(tmp_path).scan()
    assert version.modified == 1_000_000.0
    assert version.arrived > time.time() - JUST_DROPPED_SECONDS
