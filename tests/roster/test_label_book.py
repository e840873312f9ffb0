from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.labels import MOST_LABELS
from nordiq_watch.parts import Parts
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.roster.label_book import LabelBook
from nordiq_watch.storage.roster import RosterStore


class Desk:
    """A book on disk."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "servers.sqlite3"
        self.timer = 0.0
        self.parts = Parts(hidden=(directory,))
        self.book = self.open()

    def open(self) -> LabelBook:
        self.store = RosterStore(self.path, timer=lambda: self.timer, part=self.parts.of("roster"))
        return LabelBook(self.store)

    def give(self, server: str = "web1", *, at: float = 100.0, **labels: str) -> int:
        return self.book.note([GivenLabels(server, at, labels)])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_senders_each_give_some_and_an_empty_value_takes_one_away(desk: Desk) -> None:
    assert desk.book.of("web1") == {}
    desk.give(team="web", env="prod")
    desk.give(env="test", at=200)
    assert desk.book.of("web1") == {"team": "web", "env": "test"}
    desk.give(team="", at=300)
    assert desk.book.of("web1") == {"env": "test"}


def test_what_a_late_sample_says_changes_nothing_that_changed_after_it(desk: Desk) -> None:
    desk.give(team="web", at=100)
    desk.give(team="", at=300)
    desk.give(team="web", rack="7", at=200)
    assert desk.book.of("web1") == {"rack": "7"}, "what nothing newer speaks of is taken"
    desk.give(team="db", at=300)
    assert desk.book.of("web1") == {"rack": "7", "team": "db"}


def test_they_are_there_after_a_restart(desk: Desk) -> None:
    desk.give(team="web")
    desk.give("web2", team="web")
    desk.give("web3", team="db")
    desk.book.drop(["web3"])
    desk.store.close()
    again = desk.open()
    assert (again.of("web1"), again.of("web2"), again.of("web3")) == ({"team": "web"}, {"team": "web"}, {})
    assert again.of("web1") is again.of("web2"), "servers that are alike share them"
    again.keep(lambda server: server == "web2")
    assert desk.open().of("web1") == {}


def test_they_go_on_under_a_servers_new_name(desk: Desk) -> None:
    desk.give(team="web")
    desk.book.rename({"web1": "web1@a", "web9": "web9@a"})
    for book in (desk.book, desk.open()):
        assert (book.of("web1"), book.of("web1@a")) == ({}, {"team": "web"})


def test_a_server_has_only_so_many_and_the_rest_is_counted(desk: Desk) -> None:
    many = {f"l{number}": "x" for number in range(MOST_LABELS - 1)}
    assert desk.book.note([GivenLabels("web1", 100, many)]) == 0
    assert desk.give(a="x", b="x", l0="y") == 1
    assert len(desk.book.of("web1")) == MOST_LABELS
    assert desk.book.of("web1")["l0"] == "y"


def test_what_the_disk_refuses_holds_and_is_written_once_it_works(desk: Desk) -> None:
    desk.give(team="web")
    away = desk.path.parent.with_name("away")
    desk.path.parent.rename(away)
    desk.path.parent.touch()
    desk.give(team="db", at=200)
    assert desk.book.of("web1") == {"team": "db"}
    assert not desk.parts.of("roster").works
    desk.path.parent.unlink()
    away.rename(desk.path.parent)
    desk.timer = 10
    desk.book.check()
    assert desk.open().of("web1") == {"team": "db"}


def test_a_file_of_before_labels_is_brought_up_to_date(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "servers.sqlite3") as old:
        old.execute(
            "CREATE TABLE maintenance (server TEXT PRIMARY KEY, until REAL NOT NULL, reason TEXT NOT NULL, "
            "since REAL NOT NULL) WITHOUT ROWID"
        )
        old.execute("INSERT INTO maintenance VALUES ('web1', 5.0, 'new disk', 1.0)")
        old.execute("PRAGMA user_version = 1")
    old.close()
    desk = Desk(tmp_path)
    desk.give(team="web")
    assert list(desk.store.read_maintenance()) == ["web1"]
    assert desk.open().of("web1") == {"team": "web"}
