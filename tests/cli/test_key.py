"""`nordiq-watch key`, on a key file and on the daemon that reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nordiq_watch.cli.key import ROLES
from nordiq_watch.cli.main import main
from nordiq_watch.security import key_file


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    return ["--key-file", str(tmp_path / "keys")]


def test_the_roles_are_those_of_the_key_file() -> None:
    assert key_file.ROLES == ROLES


def test_add_prints_the_key_alone(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "add", "grafana", "--role", "read", *options]) == 0
    printed = capsys.readouterr()
    (key,) = printed.out.splitlines()
    assert key_file.hash_key(key).hex() in (tmp_path / "keys").read_text()
    assert key not in printed.err
    assert "SIGHUP" in printed.err


def test_list_tells_everything_but_the_keys(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["key", "add", "grafana", "--role", "read", *options])
    main(["key", "add", "agents", "--role", "feed", *options])
    keys = capsys.readouterr().out.split()
    assert main(["key", "list", *options]) == 0
    listed = capsys.readouterr().out
    assert "2 keys" in listed
    assert [line.split()[:2] for line in listed.splitlines()[2:]] == [["grafana", "read"], ["agents", "feed"]]
    assert not any(key in listed for key in keys)


def test_revoke_takes_it_out(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["key", "add", "a", "--role", "read", *options])
    main(["key", "add", "b", "--role", "read", *options])
    assert main(["key", "revoke", "a", *options]) == 0
    capsys.readouterr()
    main(["key", "list", *options])
    assert "1 keys" in capsys.readouterr().out
    assert main(["key", "revoke", "a", *options]) == 1
    assert "has no key 'a'" in capsys.readouterr().err


def test_a_role_that_there_is_not_is_a_mistake(options: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["key", "add", "a", "--role", "root", *options])
    assert caught.value.code == 2
