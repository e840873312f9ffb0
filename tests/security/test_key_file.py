"""The key file: what is written, what is read, who may read it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nordiq_watch.api.enums import Role
from nordiq_watch.errors import ConfigError
from nordiq_watch.security.key_file import Entry, KeyFile, add_entry, hash_key, read_key_file, revoke, write_key_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_an_added_key_is_told_once_and_written_as_its_hash(path: Path) -> None:
    key = add_entry(path, "grafana", Role.READ, created="2025-01-30")
    assert len(key) >= 43
    assert key not in path.read_text()
    content = read_key_file(path)
    assert content == KeyFile(entries=(Entry("grafana", Role.READ, hash_key(key).hex(), "2025-01-30"),))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_plain_key_stays_the_first_line(path: Path) -> None:
    path.write_text("secret\n")
    path.chmod(0o600)
    add_entry(path, "agents", Role.FEED, created="now")
    assert path.read_text().splitlines()[0] == "secret"
    revoke(path, "agents")
    assert path.read_text() == "secret\n"


def test_the_plain_key_is_revoked_as_local(path: Path) -> None:
    path.write_text("secret\n")
    path.chmod(0o600)
    add_entry(path, "boss", Role.ADMIN, created="now")
    revoke(path, "local")
    assert "secret" not in path.read_text()


def test_keys_added_at_the_same_time_are_all_there(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add_entry(path, f"k{number}", Role.FEED, created="now"), range(24)))
    content = read_key_file(path)
    assert content is not None
    assert {entry.id for entry in content.entries} == {f"k{number}" for number in range(24)}


@pytest.mark.parametrize("key_id", ["", "two words", "a/b", "-x", "x" * 65, "local", "environment", "ä", "a\nb"])
def test_an_id_must_be_a_name(path: Path, key_id: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a key's id"):
        add_entry(path, key_id, Role.READ, created="now")
    assert not path.exists()


def test_an_id_is_taken_once(path: Path) -> None:
    add_entry(path, "grafana", Role.READ, created="now")
    with pytest.raises(ConfigError, match="has a key 'grafana' already"):
        add_entry(path, "grafana", Role.ADMIN, created="now")


def test_what_is_not_there_cannot_be_revoked_and_the_last_key_neither(path: Path) -> None:
    add_entry(path, "grafana", Role.READ, created="now")
    with pytest.raises(ConfigError, match="has no key 'other'"):
        revoke(path, "other")
    with pytest.raises(ConfigError, match="last key"):
        revoke(path, "grafana")


@pytest.mark.parametrize(
    "second",
    ["another", "a boss sha256:00 now", f"a read sha256:{'0' * 63} now", "grafana read sha256:" + "0" * 64 + " t"],
)
def test_a_line_that_is_no_key_is_named(path: Path, second: str) -> None:
    path.write_text(f"secret\ngrafana read sha256:{'0' * 64} now\n{second}\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="line 3 is not a key") as caught:
        read_key_file(path)
    assert "secret" not in str(caught.value)


def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    write_key_file(path, KeyFile(plain="secret"))
    path.with_name(".keys.partial").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        add_entry(path, "a", Role.READ, created="now")
    assert path.read_text() == "secret\n"


def test_the_repr_keeps_the_secret() -> None:
    assert "secret" not in repr(KeyFile(plain="secret"))
