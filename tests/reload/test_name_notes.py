from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from nordiq_watch.artifact.layout import name_at
from nordiq_watch.records.models import IgnoredEntry, Version
from nordiq_watch.reload.name_notes import TOLERATED_SECONDS, NameNotes

NOON = datetime(2025, 1, 30, 12, tzinfo=UTC).timestamp()


def version(seconds_ahead: float = 0.0) -> Version:
    name = name_at(datetime.fromtimestamp(NOON + seconds_ahead, UTC))
    return Version(name, Path(name), name.removeprefix("tft_model_"), "f", size_bytes=1, modified=NOON)


@pytest.fixture
def notes() -> NameNotes:
    return NameNotes(wall_clock=lambda: NOON)


def test_a_name_ahead_of_the_clock_is_told_once(notes: NameNotes, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        notes.tell_ahead([version(9 * 3600.0), version(TOLERATED_SECONDS), version(-3600.0)])
    (told,) = caplog.messages
    assert told.startswith("tft_model_20250130_210000 is named 9.0 h ahead of this machine's clock")


def test_a_name_without_a_time_is_not_ahead_of_anything(notes: NameNotes, caplog: pytest.LogCaptureFixture) -> None:
    notes.tell_ahead([Version("tft_model_best", Path(), None, "f", size_bytes=1, modified=NOON)])
    assert caplog.messages == []


def test_an_older_drop_says_why_it_is_not_live(notes: NameNotes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "nordiq_watch")
    ahead, right = version(9 * 3600.0), version()
    for _ in range(2):
        notes.tell_older([right], ahead.name)
    notes.tell_older([ahead], right.name)
    (told,) = caplog.messages
    assert told.startswith(f"{right.name} is complete but not loaded: by its name it is older than {ahead.name}")


def test_what_went_away_and_comes_back_is_told_again(notes: NameNotes, caplog: pytest.LogCaptureFixture) -> None:
    entry = IgnoredEntry("tft_model_2025-01-31T14:30:00", "its name is no version's")
    for names in ({entry.name}, {entry.name}, set(), {entry.name}):
        notes.forget_all_but(names)
        notes.tell_ignored([entry] if names else [])
    assert len(caplog.messages) == 2
