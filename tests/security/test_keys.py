from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
from support.settings import MakeSettings

from nordiq_watch.api.enums import Role
from nordiq_watch.errors import ConfigError
from nordiq_watch.security.key_file import add_entry, hash_key
from nordiq_watch.security.keys import ApiKey, KeyHolder, Keyring, KnownKey, ensure_keys, find_key

LOCAL = KeyHolder("local", Role.ADMIN)


def write_key_file(directory: Path, content: str | bytes, mode: int = 0o600) -> Path:
    file = directory / ".nordiq_key"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    file.chmod(mode)
    return file


def test_the_environment_wins_over_the_file(make_settings: MakeSettings, tmp_path: Path) -> None:
    write_key_file(tmp_path, "from-file\n")
    assert find_key(make_settings(api_key="from-env")) == ApiKey("from-env", "NORDIQ_API_KEY")


@pytest.mark.parametrize("content", ["secret", "secret\n", "\n\n  secret  \n", "secret\r\n", "# a comment\nsecret\n"])
def test_the_files_first_line_that_is_not_empty_is_the_key(
    make_settings: MakeSettings, tmp_path: Path, content: str
) -> None:
    file = write_key_file(tmp_path, content)
    assert find_key(make_settings()) == ApiKey("secret", str(file))


def test_without_environment_and_file_there_is_no_key(make_settings: MakeSettings, tmp_path: Path) -> None:
    assert find_key(make_settings()) is None
    assert not list(tmp_path.iterdir())


def test_a_missing_key_is_made_once_private_and_announced(
    make_settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ensure_keys(make_settings())
    file = tmp_path / ".nordiq_key"
    first = find_key(make_settings())
    assert first is not None
    assert first.source == str(file)
    assert file.read_text() == first.value + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(first.value) >= 40
    assert str(file) in caplog.text
    assert first.value not in caplog.text
    assert Keyring(ensure_keys(make_settings())).identify(first.value) == LOCAL
    assert find_key(make_settings()) == first


def test_two_new_keys_differ(make_settings: MakeSettings, tmp_path: Path) -> None:
    ensure_keys(make_settings())
    first = find_key(make_settings())
    (tmp_path / ".nordiq_key").unlink()
    ensure_keys(make_settings())
    assert find_key(make_settings()) != first


def test_a_file_without_an_admin_gets_one_and_keeps_its_keys(make_settings: MakeSettings, tmp_path: Path) -> None:
    feeder = add_entry(tmp_path / ".nordiq_key", "agents", Role.FEED, created="now")
    ring = Keyring(ensure_keys(make_settings()))
    made = find_key(make_settings())
    assert made is not None
    assert ring.identify(made.value) == LOCAL
    assert ring.identify(feeder) == KeyHolder("agents", Role.FEED)


def test_a_file_with_an_admins_hash_needs_no_other_key(make_settings: MakeSettings, tmp_path: Path) -> None:
    add_entry(tmp_path / ".nordiq_key", "boss", Role.ADMIN, created="now")
    assert [key.holder for key in ensure_keys(make_settings())] == [KeyHolder("boss", Role.ADMIN)]
    assert find_key(make_settings()) is None


def test_the_environments_key_takes_the_place_of_the_files_own_and_the_hashed_ones_hold(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    write_key_file(tmp_path, "from-file\n")
    feeder = add_entry(tmp_path / ".nordiq_key", "agents", Role.FEED, created="now")
    ring = Keyring(ensure_keys(make_settings(api_key="from-env")))
    assert ring.identify("from-env") == KeyHolder("environment", Role.ADMIN)
    assert ring.identify("from-file") is None
    assert ring.identify(feeder) == KeyHolder("agents", Role.FEED)


class TestOtherMachines:
    """A daemon that they can reach."""

    def test_without_a_key_it_is_refused_and_none_is_made(self, make_settings: MakeSettings, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"can reach 0\.0\.0\.0.*NORDIQ_API_KEY.*key add"):
            ensure_keys(make_settings(host="0.0.0.0"))
        assert not list(tmp_path.iterdir())

    def test_a_key_for_reading_alone_is_not_enough(self, make_settings: MakeSettings, tmp_path: Path) -> None:
        add_entry(tmp_path / ".nordiq_key", "grafana", Role.READ, created="now")
        with pytest.raises(ConfigError, match="there is no API key"):
            ensure_keys(make_settings(host="::"))

    def test_a_key_from_the_environment_or_a_file_will_do(self, make_settings: MakeSettings, tmp_path: Path) -> None:
        assert ensure_keys(make_settings(host="10.0.0.1", api_key="k" * 20))
        write_key_file(tmp_path, "k" * 20)
        assert ensure_keys(make_settings(host="10.0.0.1"))

    def test_a_key_that_can_be_guessed_is_warned_of(
        self, make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
    ) -> None:
        ensure_keys(make_settings(api_key="short"))
        assert caplog.text == ""
        ensure_keys(make_settings(host="10.0.0.1", api_key="short"))
        assert "has only 5 characters" in caplog.text

    @pytest.mark.parametrize(
        ("host", "loopback"),
        [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("", False), ("0.0.0.0", False),
         ("::", False), ("watch.example.net", False)],
    )  # fmt: skip
    def test_which_hosts_those_are(self, make_settings: MakeSettings, host: str, loopback: bool) -> None:
        assert make_settings(host=host).other_machines is not loopback


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_file_that_others_may_use_is_warned_of(
    make_settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    file = write_key_file(tmp_path, "secret", mode)
    find_key(make_settings())
    assert f"chmod 600 {file}" in caplog.text


def test_a_private_file_is_not_warned_of(
    make_settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
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
def test_a_file_without_a_usable_key_is_an_error_that_names_it(
    make_settings: MakeSettings, tmp_path: Path, content: bytes | str, problem: str
) -> None:
    file = write_key_file(tmp_path, content)
    with pytest.raises(ConfigError, match=problem) as caught:
        ensure_keys(make_settings())
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_blank_variable_is_an_error_that_names_it(make_settings: MakeSettings) -> None:
    with pytest.raises(ConfigError, match=r"^NORDIQ_API_KEY: holds no API key"):
        find_key(make_settings(api_key="  "))


def test_a_directory_in_the_files_place_is_an_error(make_settings: MakeSettings, tmp_path: Path) -> None:
    (tmp_path / ".nordiq_key").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        ensure_keys(make_settings())


def test_a_place_that_cannot_be_written_is_an_error_that_says_what_to_do(make_settings: MakeSettings) -> None:
    with pytest.raises(ConfigError, match=r"cannot be written there .*NORDIQ_API_KEY"):
        ensure_keys(make_settings(key_file="nowhere/key"))


def known(key: str, key_id: str = "a", role: Role = Role.ADMIN) -> KnownKey:
    return KnownKey(hash_key(key), KeyHolder(key_id, role))


def test_the_keyring_knows_its_keys_alone() -> None:
    ring = Keyring([known("secret"), known("other", "b", Role.READ)])
    assert ring.identify("secret") == KeyHolder("a", Role.ADMIN)
    assert ring.identify("other") == KeyHolder("b", Role.READ)
    for wrong in ("", "Secret", "secret ", "secre", "secrets", "sécret", "\udcff", hash_key("secret").hex()):
        assert ring.identify(wrong) is None


def test_a_replaced_key_is_no_longer_accepted() -> None:
    ring = Keyring([known("old")])
    ring.replace([known("new")])
    assert ring.identify("new") == KeyHolder("a", Role.ADMIN)
    assert ring.identify("old") is None


def test_a_keys_repr_keeps_the_secret() -> None:
    assert "secret" not in repr(ApiKey("secret", "test"))
