"""The machine's clock jumps, by days, forth and back: whatever waits for a time goes on, and answers keep coming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.drop_site import Reader, Site, make_site, warm_fleet

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LIBRARIES, reason="libfaketime (Debian: libfaketime) is not here"),
]
JUMPS = ("+1d", "-2d", "+3650d", "+0")


class Clock:
    """What the daemon believes the time to be; durations are not touched, as in a real jump."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump("+0")

    def jump(self, offset: str) -> None:
        self._file.write_text(offset + "\n")

    @property
    def environment(self) -> tuple[str, ...]:
        return (
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "offset")


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Iterator[Site]:
    site = make_site(tmp_path, watch={"settle_seconds": 0.2, "rescan_seconds": 1})
    site.daemon.launcher = ("env", *clock.environment)
    with site:
        yield site


def test_answers_and_reloads_go_on_whatever_the_clock_says(site: Site, clock: Clock) -> None:
    with Reader(site.daemon) as reader:
        generation = reader.begin().generation
        for offset in JUMPS:
            clock.jump(offset)
            made = site.shelf.make(hashes=False)  # has to stand still for a time before it is loaded
            site.drop(made)
            generation += 1
            assert site.go_live(made) == generation
            reader.wait_for(made)
            assert site.daemon.get("/status")["running"] is True
        assert reader.failures == []
    assert site.daemon.feed(warm_fleet())["status"] == "accepted"
    assert "Traceback" not in site.daemon.log


def test_a_sample_from_the_future_is_refused_with_words_and_not_kept(site: Site, clock: Clock) -> None:
    clock.jump("-2d")
    answer = site.daemon.request("POST", "/feed/data", json={"records": warm_fleet()})
    assert answer.status_code == 422
    assert "ahead of this machine's clock" in answer.json()["detail"]
    clock.jump("+0")
    assert site.daemon.feed(warm_fleet())["status"] == "accepted"


def test_a_clock_that_was_ahead_and_went_back_shuts_out_no_sample(site: Site, clock: Clock) -> None:
    records = warm_fleet()
    size = site.daemon.feed(records)["window_size"]
    clock.jump("+3650d")
    ahead = [record | {"timestamp": record["timestamp"] + 3650 * 86_400} for record in records[-3:]]
    assert site.daemon.feed(ahead)["window_size"] == 3
    clock.jump("+0")
    assert site.daemon.feed(records[-3:])["window_size"] == size
