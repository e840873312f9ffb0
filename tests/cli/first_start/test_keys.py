from __future__ import annotations

import logging
from pathlib import Path

import pytest

from nordiq_watch.api.enums import Role
from nordiq_watch.cli.first_start.keys import ensure_both
from nordiq_watch.config.load import load_settings
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.security.keys import Keyring, ensure_keys


def settings_in(root: Path, text: str = "") -> Settings:
    (root / "config.yaml").write_text(text)
    return load_settings(root / "config.yaml", {})


def test_two_keys_that_the_daemon_knows_and_only_their_owner_may_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_in(tmp_path)
    with caplog.at_level(logging.WARNING):
        file, made = ensure_both(settings)
    assert (made, caplog.text) == (True, "")
    keyring = Keyring(ensure_keys(settings))
    holders = [keyring.identify(path.read_text().splitlines()[0]) for path in (settings.key_file, file)]
    assert [holder.role for holder in holders if holder] == [Role.ADMIN, Role.FEED]
    assert {path.stat().st_mode & 0o777 for path in (settings.key_file, file)} == {0o600}


def test_what_is_there_stays(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    file, _ = ensure_both(settings)
    before = file.read_bytes(), settings.key_file.read_bytes()
    assert ensure_both(settings) == (file, False)
    assert (file.read_bytes(), settings.key_file.read_bytes()) == before


def test_a_feed_key_whose_file_is_gone_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    ensure_both(settings)[0].unlink()
    with pytest.raises(ConfigError, match=r"has a key 'feed' already.*revoke that one"):
        ensure_both(settings)


def test_a_daemon_for_other_machines_needs_a_key_that_a_person_chose(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no API key"):
        ensure_both(settings_in(tmp_path, "server: {host: 0.0.0.0}"))
