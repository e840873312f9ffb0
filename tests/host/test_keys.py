from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from nordiq_watch.errors import ConfigError
from nordiq_watch.host.keys import ApiKey, Keyring, ensure_key, find_key


def write_key_file(directory: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file = directory / ".nordiq_key"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
    return file


def test_the_environment_wins_over_the_file(make_settings, tmp_path):
    write_key_file(tmp_path, "from-file\n")
    assert find_key(make_settings(api_key="from-env")) == ApiKey("from-env", "NORDIQ_API_KEY")


@pytest.mark.parametrize("content", ["secret", "secret\n", "\n\n  secret  \nanother\n", "secret\r\n"])
def test_the_files_first_line_that_is_not_empty_is_the_key(make_settings, tmp_path, content):
    file = write_key_file(tmp_path, content)
    assert find_key(make_settings()) == ApiKey("secret", str(file))


def test_without_environment_and_file_there_is_no_key(make_settings, tmp_path):
    assert find_key(make_settings()) is None
    assert not list(tmp_path.iterdir())


def test_a_missing_key_is_made_once_private_and_announced(make_settings, tmp_path, caplog):
    first = ensure_key(make_settings())
    file = tmp_path / ".nordiq_key"
    assert first.source == str(file)
    assert file.read_text() == first.value + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first.value) >= 40
    assert str(file) in caplog.text
    assert first.value not in caplog.text
    assert ensure_key(make_settings()) == first


def test_two_new_keys_differ(make_settings, tmp_path):
    first = ensure_key(make_settings())
    (tmp_path / ".nordiq_key").unlink()
    assert ensure_key(make_settings()).value != first.value


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_may_use_is_warned_of(make_settings, tmp_path, caplog, mode):
    file = write_key_file(tmp_path, "secret", mode)
    find_key(make_settings())
    assert f"chmod 600 {file}" in caplog.text


def test_a_private_file_is_not_warned_of(make_settings, tmp_path, caplog):
    write_key_file(tmp_path, "secret")
    with caplog.at_level(logging.DEBUG):
        find_key(make_settings())
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds no API key"),
        (" \n\t\n", "holds no API key"),
        ("two words", "without spaces"),
        ("schlüssel", "ASCII"),
        (b"\xff\xfe\x00", "not a key file"),
    ],
)
def test_a_file_without_a_usable_key_is_an_error_that_names_it(make_settings, tmp_path, content, problem):
    file = write_key_file(tmp_path, content)
    with pytest.raises(ConfigError, match=problem) as caught:
        ensure_key(make_settings())
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_blank_variable_is_an_error_that_names_it(make_settings):
    with pytest.raises(ConfigError, match=r"^NORDIQ_API_KEY: holds no API key"):
        find_key(make_settings(api_key="  "))


def test_a_directory_in_the_files_place_is_an_error(make_settings, tmp_path):
    (tmp_path / ".nordiq_key").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        ensure_key(make_settings())


def test_a_place_that_cannot_be_written_is_an_error_that_says_what_to_do(make_settings, tmp_path):
    (tmp_path / ".nordiq_key").symlink_to(tmp_path / "nowhere" / "key")
    with pytest.raises(ConfigError, match=r"cannot be written there .*NORDIQ_API_KEY"):
        ensure_key(make_settings())


def test_the_keyring_accepts_the_key_alone():
    ring = Keyring(ApiKey("secret", "test"))
    assert ring.accepts("secret")
    for wrong in ("", "Secret", "secret ", "secre", "secrets", "sécret", "\udcff"):
        assert not ring.accepts(wrong)


def test_a_replaced_key_is_no_longer_accepted():
    ring = Keyring(ApiKey("old", "test"))
    ring.replace(ApiKey("new", "test"))
    assert ring.accepts("new")
    assert not ring.accepts("old")


def test_a_keys_repr_keeps_the_secret():
    assert "secret" not in repr(ApiKey("secret", "test"))
