"""The choice of version, as a table. Versions are given as NAME or NAME@FINGERPRINT, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nordiq_watch.artifact.layout import age_key
from nordiq_watch.records.models import Version
from nordiq_watch.reload.policy import Situation, newer_than_live, next_to_load


def version(text: str) -> Version:
    name, _, fingerprint = text.partition("@")
    return Version(full(name), Path(full(name)), None, fingerprint or "1", 0, 0.0)


def full(name: str) -> str:
    return f"tft_model_2025010{name}_000000" if name.isdigit() else f"tft_model_{name}"


def situation(
    live: str | None = None, pinned: str | None = None, resume: str | None = None, quarantined: Sequence[str] = ()
) -> Situation:
    name, _, fingerprint = (live or "").partition("@")
    return Situation(
        live=full(name) if live else None,
        live_fingerprint=(fingerprint or "1") if live else None,
        pinned=full(pinned) if pinned else None,
        resume=full(resume) if resume else None,
        quarantined=[full(name) for name in quarantined],
    )


@pytest.mark.parametrize(
    ("loadable", "given", "chosen"),
    [
        # nothing is live
        ("", {}, None),
        ("3 2 1", {}, "3"),
        ("best", {}, "best"),
        ("3 2 1", {"resume": "2"}, "3"),  # dropped while the daemon was away
        ("2 1", {"resume": "2"}, "2"),
        ("2 1", {"resume": "2", "quarantined": "3"}, "2"),
        ("4 2 1", {"resume": "2", "quarantined": "3"}, "4"),
        ("2 1", {"resume": "1", "quarantined": "3"}, "1"),  # 2 was there before 3 was rolled back
        ("2 1", {"resume": "9"}, "2"),  # the last live version is gone: better an older one than none
        # one is live
        ("2 1", {"live": "1"}, "2"),
        ("2 1", {"live": "2"}, None),
        ("1", {"live": "2"}, None),  # the live one is gone from the disk
        ("", {"live": "2"}, None),
        ("best 1", {"live": "1"}, None),
        ("2@new 1", {"live": "2@old"}, "2"),  # replaced in place
        ("3 2@new", {"live": "2@old"}, "3"),
        ("2 1", {"live": "1", "quarantined": "3"}, None),
        ("4 2 1", {"live": "1", "quarantined": "3"}, "4"),
        ("3@new 2 1", {"live": "1", "quarantined": "3"}, "3"),  # rolled back, and then replaced in place
        ("3@new 2 1", {"live": "1", "quarantined": ("3", "4")}, None),
        ("3@new 2 1", {"resume": "1", "quarantined": "3"}, "3"),
        # pinned
        ("3 2 1", {"live": "1", "pinned": "1"}, None),
        ("3 2 1@new", {"live": "1@old", "pinned": "1"}, "1"),
        ("3 2 1", {"pinned": "1", "resume": "1"}, "1"),
        ("3 2", {"pinned": "1", "resume": "1"}, "3"),  # the pinned one is gone, and nothing is live
        ("3 2 1", {"live": "3", "pinned": "1"}, "1"),  # it came back
    ],
)
def test_next_to_load(loadable: str, given: dict[str, str], chosen: str | None) -> None:
    versions = sorted(map(version, loadable.split()), key=lambda one: age_key(one.name), reverse=True)
    found = next_to_load(versions, situation(**given))
    assert (found.name if found else None) == (full(chosen) if chosen else None)


def test_what_a_pin_holds_back() -> None:
    versions = [version("3"), version("1")]
    assert newer_than_live(versions, full("1")) == versions[0]
    assert newer_than_live(versions, full("3")) is None
    assert newer_than_live([], full("3")) is None
    assert newer_than_live(versions, None) == versions[0]
