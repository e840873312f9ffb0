"""What is left when the kernel has no more inotify to give, or loses what it had to say: nothing is missed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from support import writers
from support.drop_site import Reader, Site, check_goes_live, make_site
from support.writers import ORDERS, Pause, Writer

pytestmark = pytest.mark.slow

WATCH = {"mode": "auto", "settle_seconds": 0.2, "rescan_seconds": 1}
QUEUE_LENGTH = Path("/proc/sys/fs/inotify/max_queued_events")


def make_limited_site(root: Path, limit: str, count: int) -> Site:
    """In a user namespace of its own, so that nobody else on this machine has fewer."""
    site = make_site(root, watch=WATCH)
    command = f'set -e; echo {count} > /proc/sys/user/{limit}; exec "$@"'
    site.daemon.launcher = ("unshare", "--map-root-user", "sh", "-c", command, "sh")
    if subprocess.run([*site.daemon.launcher, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no user namespace in which inotify could be limited")
    return site


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        ("max_inotify_instances", "inotify instance limit reached"),
        ("max_inotify_watches", "inotify watch limit reached"),
    ],
)
def test_without_inotify_it_polls_and_says_so(tmp_path: Path, limit: str, says: str) -> None:
    with make_limited_site(tmp_path, limit, 0) as site, Reader(site.daemon) as reader:
        assert f"cannot be watched with inotify ({says})" in site.daemon.log
        assert "with poll, rescan every 1 s" in site.daemon.log
        check_goes_live(site, reader, site.shelf.make(), writers.rename_in)


def test_a_directory_that_inotify_cannot_watch_any_more_is_found_by_the_rescan(tmp_path: Path) -> None:
    with make_limited_site(tmp_path, "max_inotify_watches", 1) as site, Reader(site.daemon) as reader:
        assert "with inotify, rescan every 1 s" in site.daemon.log
        check_goes_live(site, reader, site.shelf.make(hashes=False), writers.in_order(*ORDERS["weights last"]))


def test_an_overflow_of_the_inotify_queue_loses_nothing(tmp_path: Path) -> None:
    events = int(QUEUE_LENGTH.read_text())
    if events > 200_000:
        pytest.skip(f"{QUEUE_LENGTH} is {events}: filling it takes too long")
    with make_site(tmp_path, watch=WATCH) as site, Reader(site.daemon) as reader:
        check_goes_live(site, reader, site.shelf.make(hashes=False), behind_a_full_queue(site, events))


def behind_a_full_queue(site: Site, events: int) -> Writer:
    """The daemon stands still until its queue has overflowed, and then a directory appears: nobody tells it."""

    def write(source: Path, target: Path, pause: Pause) -> None:
        site.daemon.signal(signal.SIGSTOP)
        noise = site.daemon.models / "noise"
        for _ in range(events // 2 + 1):
            noise.open("wb").close()  # two events: opened, closed
        target.mkdir()
        site.daemon.signal(signal.SIGCONT)
        pause()
        writers.write_in_order(source, target, pause, ORDERS["weights last"])

    return write
