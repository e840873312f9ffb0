"""Opening a database of known tables: one opener for new, older, newer, foreign and damaged files."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nordiq_watch.errors import StorageError
from nordiq_watch.storage.database import CorruptDatabase
from nordiq_watch.storage.schema import open_prepared, open_store

SCHEMA = "CREATE TABLE fruits (name TEXT); CREATE INDEX by_name ON fruits (name);"
NOON = 1_736_942_400.0  # 2025-01-15T12:00:00Z


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fruits.sqlite3"


def fill(path: Path, *, version: int, table: str = "fruits") -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table} (name TEXT)")
        connection.execute(f"INSERT INTO {table} VALUES ('pear')")
        connection.execute(f"PRAGMA user_version = {version}")


def version_of(connection: sqlite3.Connection) -> int:
    version: int
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return version


def names_in(path: Path, table: str = "fruits") -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT name FROM {table}").fetchall()


@pytest.mark.parametrize("exists", [False, True], ids=["no file", "empty file"])
@pytest.mark.parametrize("in_log", [True, False])
def test_a_new_file_has_the_tables_and_their_version(path: Path, exists: bool, in_log: bool) -> None:
    if exists:
        path.touch()
    with closing(open_prepared(path, schema=SCHEMA, version=3, in_log=in_log)) as connection:
        assert version_of(connection) == 3
        connection.execute("INSERT INTO fruits VALUES ('fig')")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal" if in_log else "delete",)
    assert names_in(path) == [("fig",)]


def test_tables_that_cannot_all_be_made_leave_none(path: Path) -> None:
    with pytest.raises(StorageError):
        open_prepared(path, schema=f"{SCHEMA} CREATE TABLE fruits (name TEXT);", version=1)
    with closing(open_prepared(path, schema=SCHEMA, version=1)) as connection:
        assert connection.execute("SELECT count(*) FROM fruits").fetchone() == (0,)


def test_a_file_of_this_version_is_opened_as_it_is(path: Path) -> None:
    fill(path, version=2)
    open_store(path, schema=SCHEMA, version=2).close()
    assert names_in(path) == [("pear",)]


def test_an_older_file_is_upgraded_and_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(path, version=1)

    def upgrade(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE fruits SET name = upper(name)")

    with caplog.at_level(logging.INFO):
        open_store(path, schema=SCHEMA, version=2, upgrade=upgrade).close()
        open_store(path, schema=SCHEMA, version=2, upgrade=upgrade).close()
    assert names_in(path) == [("PEAR",)]
    assert caplog.messages == [f"{path} is brought from an older schema to schema 2"]


def test_an_upgrade_that_fails_leaves_the_older_file(path: Path) -> None:
    fill(path, version=1)

    def upgrade(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM fruits")
        connection.execute("DELETE FROM vegetables")

    with pytest.raises(StorageError, match="vegetables"):
        open_store(path, schema=SCHEMA, version=2, upgrade=upgrade)
    assert names_in(path) == [("pear",)]


def test_a_newer_file_is_refused_and_left_alone(path: Path) -> None:
    fill(path, version=3)
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"newer nordiq_watch \(schema 3, this one knows up to 2\)"):
        open_store(path, schema=SCHEMA, version=2)
    with pytest.raises(StorageError, match="newer nordiq_watch"):
        open_prepared(path, schema=SCHEMA, version=2, in_log=False)
    assert names_in(path) == [("pear",)]
    assert len(path.read_bytes()) == len(before)
    assert [file.name for file in path.parent.iterdir() if "corrupt" in file.name] == []


@pytest.mark.parametrize(
    ("version", "table"), [(0, "vegetables"), (0, "fruits"), (1, "fruits")], ids=["foreign", "no version", "older"]
)
def test_tables_that_cannot_be_read_are_kept_beside_and_said_in_one_line(
    path: Path, version: int, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(path, version=version, table=table)
    with pytest.raises(CorruptDatabase, match=f"has the schema {version}, which this nordiq_watch cannot read"):
        open_prepared(path, schema=SCHEMA, version=2)
    assert names_in(path, table) == [("pear",)], "nothing was written to it"
    open_store(path, schema=SCHEMA, version=2, clock=lambda: NOON).close()
    assert names_in(path) == []
    aside = path.with_name(f"{path.name}.corrupt-20250115T120000")
    assert names_in(aside, table) == [("pear",)]
    assert caplog.messages == [
        f"{path}: has the schema {version}, which this nordiq_watch cannot read; it is kept as {aside.name}, "
        "and a fresh one was begun"
    ]


def test_a_damaged_file_is_kept_beside(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    open_store(path, schema=SCHEMA, version=1, clock=lambda: NOON).close()
    assert names_in(path) == []
    assert path.with_name(f"{path.name}.corrupt-20250115T120000").read_bytes() == b"no database" * 1000
