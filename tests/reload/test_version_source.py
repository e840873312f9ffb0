"""Which version to load now, and when looking again may give another answer. On real directories, without a worker."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from support.models import drop_model
from support.optional import not_none

from nordiq_watch.api.enums import Check
from nordiq_watch.artifact.layout import MAPPING_FILE, WEIGHTS_FILE
from nordiq_watch.errors import TransientModelError
from nordiq_watch.records.models import Version
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.version_source import VersionSource
from nordiq_watch.storage.decisions import DecisionStore

A, B, C = (f"tft_model_2025010{day}_000000" for day in (1, 2, 3))
SETTLE_SECONDS = 1.0


@dataclass
class Shelf:
    """A models directory, and what looks at it."""

    root: Path
    now: float = 100.0
    drops: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.models_dir = self.root / "models"
        self.models_dir.mkdir()
        self.store = DecisionStore(self.root / "decisions.json")
        self.source = VersionSource(
            Catalogue(self.models_dir),
            self.store,
            settle_seconds=SETTLE_SECONDS,
            clock=lambda: self.now,
            new_drop=lambda: f"drop-{next(self.drops)}",
        )

    def drop(self, name: str, *, hashes: bool = True) -> Path:
        return drop_model(self.models_dir, name, hashes=hashes)

    def choose(self, live: Version | None = None) -> Version | None:
        if live is None:
            return self.source.choose(live=None, live_fingerprint=None)
        return self.source.choose(live=live.name, live_fingerprint=live.fingerprint)

    def chosen(self, live: Version | None = None) -> str | None:
        version = self.choose(live)
        return version.name if version else None


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_an_empty_directory_has_nothing_and_is_not_looked_at_again(shelf: Shelf) -> None:
    assert shelf.choose() is None
    assert shelf.source.look_at is None


def test_the_newest_one_is_chosen_until_it_is_live(shelf: Shelf) -> None:
    shelf.drop(A)
    shelf.drop(B)
    newest = not_none(shelf.choose())
    assert newest.name == B
    assert shelf.choose(newest) is None
    shelf.drop(C)
    assert shelf.chosen(newest) == C


def test_a_live_version_with_other_bytes_is_chosen_again(shelf: Shelf) -> None:
    shelf.drop(A)
    live = not_none(shelf.choose())
    shutil.rmtree(shelf.models_dir / A)
    drop_model(shelf.models_dir, A, shift=0.5)
    assert not_none(shelf.choose(live)).fingerprint != live.fingerprint


def test_one_without_hashes_is_chosen_once_it_stood_still(shelf: Shelf) -> None:
    directory = shelf.drop(A, hashes=False)
    assert shelf.choose() is None
    assert shelf.source.look_at == shelf.now + SETTLE_SECONDS
    shelf.now += 0.6
    os.utime(directory / MAPPING_FILE)
    assert shelf.choose() is None
    assert shelf.source.look_at == shelf.now + SETTLE_SECONDS, "each change starts the wait anew"
    shelf.now += SETTLE_SECONDS
    assert shelf.chosen() == A


def test_an_incomplete_one_is_told_once_it_stood_still_and_only_once(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    weights = shelf.drop(A) / WEIGHTS_FILE
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    assert shelf.choose() is None
    assert "is not complete" not in caplog.text
    shelf.now += SETTLE_SECONDS
    for _ in range(3):
        assert shelf.choose() is None
    assert caplog.text.count("is not complete") == 1
    weights.write_bytes(whole)
    assert shelf.chosen() == A


def test_a_version_that_the_machine_kept_from_loading_is_tried_later_and_later(shelf: Shelf) -> None:
    shelf.drop(A)
    version = not_none(shelf.choose())
    failure = TransientModelError(A, check=Check.LAYOUT, found="EIO", remedy="")
    waits = []
    for _ in range(8):
        shelf.source.postpone(version, failure)
        waits.append(not_none(shelf.source.look_at) - shelf.now)
        assert shelf.choose() is None, "not before its time"
        assert shelf.source.look_at == shelf.now + waits[-1]
        shelf.now += waits[-1]
        assert shelf.chosen() == A
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert "EIO" in not_none(shelf.source.retry_of(A)).reason
    shelf.source.conclude_live(version)
    assert shelf.source.retry_of(A) is None


def test_other_bytes_of_it_need_not_wait(shelf: Shelf) -> None:
    shelf.drop(A)
    shelf.source.postpone(not_none(shelf.choose()), TransientModelError(A, check=Check.LAYOUT, found="EIO", remedy=""))
    shutil.rmtree(shelf.models_dir / A)
    drop_model(shelf.models_dir, A, shift=0.5)
    assert shelf.chosen() == A


def test_bytes_that_are_not_those_listed_are_looked_at_again_while_more_may_come(shelf: Shelf) -> None:
    shelf.drop(A)
    version = not_none(shelf.choose())
    assert shelf.source.distrust_hashes(version)
    assert shelf.choose() is None, "it must settle like one without hashes"
    shelf.now += SETTLE_SECONDS
    assert shelf.chosen() == A
    assert not shelf.source.distrust_hashes(version), "they stood still: nothing more comes"


def test_a_pin_holds_newer_ones_back_and_is_told_once(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    shelf.drop(A)
    live = not_none(shelf.choose())
    shelf.store.save(shelf.store.current.with_pin(A))
    shelf.drop(B)
    for _ in range(2):
        assert shelf.choose(live) is None
    assert caplog.text.count(f"{B} is complete but not loaded: {A} is pinned") == 1


def test_a_pin_whose_version_is_gone_is_told_again_only_when_it_went_anew(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.drop(A)
    live = not_none(shelf.choose())
    shelf.store.save(shelf.store.current.with_pin(A))
    shelf.drop(B)
    for times in (1, 2):
        (shelf.models_dir / A).rename(shelf.models_dir / ".away")
        for _ in range(2):
            shelf.choose(live)
        assert caplog.text.count(f"{A} is pinned, but its directory is gone") == times
        (shelf.models_dir / ".away").rename(shelf.models_dir / A)
        shelf.choose(live)


def test_a_directory_that_cannot_be_listed_is_no_news_of_its_versions(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.drop(A, hashes=False)
    shelf.choose()
    away = shelf.root / "away"
    shelf.models_dir.rename(away)
    shelf.models_dir.symlink_to(shelf.models_dir)  # a loop
    for _ in range(2):
        assert shelf.choose() is None
        assert shelf.source.look_at == shelf.now + 1.0
    assert caplog.text.count("looking again every 1 s") == 1
    shelf.models_dir.unlink()
    away.rename(shelf.models_dir)
    shelf.now += SETTLE_SECONDS
    assert shelf.chosen() == A, "it had been watched before"


def test_each_drop_has_an_id_as_long_as_it_is_there(shelf: Shelf) -> None:
    shelf.drop(A)
    shelf.choose()
    assert shelf.source.drop_of(A) == "drop-1"
    shutil.rmtree(shelf.models_dir / A)
    shelf.choose()
    assert shelf.source.drop_of(A) is None
    shelf.drop(A)
    shelf.choose()
    assert shelf.source.drop_of(A) == "drop-2"


def test_it_is_tried_again_for_as_long_as_it_takes(shelf: Shelf) -> None:
    """A day of attempts once a minute is more than 2 ** attempts can count in a float."""
    shelf.drop(A)
    version = not_none(shelf.choose())
    failure = TransientModelError(A, check=Check.MEMORY, found="0 MB are free", remedy="Free memory.")
    for _ in range(1500):
        shelf.source.look_at = None
        shelf.source.postpone(version, failure)
    assert shelf.source.look_at == shelf.now + 60.0
    assert not_none(shelf.source.retry_of(A)).attempts == 1500


def test_names_that_are_not_loaded_are_told_once(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "nordiq_watch.reload")
    shelf.drop(B)
    live = not_none(shelf.choose())
    shelf.source.conclude_live(live)
    shelf.drop(A)
    (shelf.models_dir / "tft_model_2025-01-31T14:30:00").mkdir()
    for _ in range(3):
        assert shelf.choose(live) is None
    assert [message for message in caplog.messages if "was seen" not in message] == [
        "tft_model_2025-01-31T14:30:00 in the models directory is ignored: its name is no version's: call it "
        "tft_model_YYYYMMDD_HHMMSS (in UTC), or tft_model_ and letters, digits, `_`, `.`, `-`",
        f"{A} is complete but not loaded: by its name it is older than {B}, which is live. `nordiq-watch reload {A}` "
        "loads it",
    ]


def test_a_version_that_was_live_or_lay_there_at_the_start_is_not_told_as_old(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nordiq_watch.reload")
    shelf.drop(A)
    shelf.drop(B)
    first = not_none(shelf.choose())
    shelf.source.conclude_live(first)
    shelf.drop(C)
    second = not_none(shelf.choose(first))
    shelf.source.conclude_live(second)
    assert shelf.choose(second) is None
    assert "not loaded" not in caplog.text
