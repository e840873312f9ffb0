from __future__ import annotations

import pytest
from support.batches import METRICS, Sample, make_batch

from nordiq_watch.ingest import alike_names as module
from nordiq_watch.ingest.alike_names import AlikeNames
from nordiq_watch.ingest.window import Window


def arrive(alike: AlikeNames, window: Window, *names: str) -> None:
    window.apply(make_batch([Sample(name, 100, {"cpu_user_pct": 1.0}) for name in names]))
    alike.note(names)


@pytest.fixture
def window() -> Window:
    return Window(METRICS, interval_seconds=300, length=4, max_servers=500, silent_seconds=600)


def test_a_pair_is_said_once_whenever_its_second_name_comes(window: Window, caplog: pytest.LogCaptureFixture) -> None:
    arrive(AlikeNames(window), window, "web1", "stra\u00dfe")  # before a restart
    alike = AlikeNames(window)
    arrive(alike, window, "db1", "DB1")
    for _ in range(2):
        arrive(alike, window, "WEB1")
    arrive(alike, window, "Web1", "web2", "STRASSE")
    assert caplog.messages == [
        "the servers 'db1' and 'DB1' differ in upper and lower case alone: they are two",
        "the servers 'web1' and 'WEB1' differ in upper and lower case alone: they are two",
        "the servers 'stra\u00dfe' and 'STRASSE' differ in upper and lower case alone: they are two",
    ]


def test_made_up_names_do_not_fill_the_log(
    window: Window, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_SAID", 3)
    arrive(AlikeNames(window), window, *[f"{name}{number}" for number in range(9) for name in ("a", "A")])
    assert len(caplog.messages) == 3
