from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.errors import StorageError
from nordiq_watch.parts import Parts
from nordiq_watch.records.servers import Maintenance
from nordiq_watch.roster.maintenance import MaintenanceBook
from nordiq_watch.storage.roster import RosterStore


class Desk:
    """A book on disk, and the clock that it goes by."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "servers.sqlite3"
        self.now = 1000.0
        self.timer = 0.0
        self.parts = Parts(hidden=(directory,))
        self.book = self.open()

    def open(self) -> MaintenanceBook:
        self.store = RosterStore(self.path, timer=lambda: self.timer, part=self.parts.of("roster"))
        return MaintenanceBook(self.store, clock=lambda: self.now)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_maintenance_ends_by_itself_at_its_time(desk: Desk) -> None:
    assert desk.book.begin("web1", until=1600, reason="new disk") == Maintenance(1600, "new disk", 1000)
    assert desk.book.now() == {"web1": Maintenance(1600, "new disk", 1000)}
    desk.now = 1599.9
    assert list(desk.book.now()) == ["web1"]
    desk.now = 1600
    assert desk.book.now() == {}
    assert not desk.book.end("web1")


def test_a_second_order_replaces_the_first_and_keeps_its_beginning(desk: Desk) -> None:
    desk.book.begin("web1", until=1600, reason="new disk")
    desk.now = 1500
    assert desk.book.begin("web1", until=1700, reason="two disks") == Maintenance(1700, "two disks", 1000)
    desk.now = 1800
    assert desk.book.begin("web1", until=1900, reason="").since == 1800, "that is another one"


def test_it_survives_a_restart_and_what_has_ended_is_struck_out(desk: Desk) -> None:
    desk.book.begin("web1", until=1600, reason="new disk")
    desk.book.begin("web2", until=5000, reason="")
    desk.book.begin("web3", until=5000, reason="")
    assert desk.book.end("web3")
    assert not desk.book.end("web3")
    desk.now = 2000
    desk.store.close()
    again = desk.open()
    assert again.now() == {"web2": Maintenance(5000, "", 1000)}
    assert list(desk.store.read_maintenance()) == ["web2"]


def test_it_goes_on_under_a_servers_new_name(desk: Desk) -> None:
    desk.book.begin("web1", until=1600, reason="new disk")
    desk.book.begin("web2", until=1700, reason="")
    desk.book.rename({"web1": "web1@a", "web9": "web9@a"})
    assert set(desk.book.now()) == set(desk.open().now()) == {"web1@a", "web2"}


def test_while_the_disk_fails_an_order_is_refused_and_changes_nothing(desk: Desk) -> None:
    desk.book.begin("web1", until=1600, reason="")
    away = desk.path.parent.with_name("away")
    desk.path.parent.rename(away)
    desk.path.parent.touch()
    for order in (lambda: desk.book.begin("web2", until=1600, reason=""), lambda: desk.book.end("web1")):
        with pytest.raises(StorageError):
            order()
    assert list(desk.book.now()) == ["web1"]
    assert not desk.parts.of("roster").works
    desk.path.parent.unlink()
    away.rename(desk.path.parent)
    desk.timer = 10
    desk.book.check()
    assert desk.parts.of("roster").works
    assert desk.book.end("web1")


def test_a_file_that_cannot_be_read_at_the_start_is_read_once_it_can(desk: Desk) -> None:
    desk.book.begin("web1", until=1600, reason="new disk")
    desk.store.close()
    away = desk.path.parent.with_name("away")
    desk.path.parent.rename(away)
    desk.path.parent.touch()
    again = desk.open()
    assert again.now() == {}
    desk.path.parent.unlink()
    away.rename(desk.path.parent)
    desk.timer = 10
    again.check()
    assert list(again.now()) == ["web1"]
