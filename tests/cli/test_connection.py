from __future__ import annotations

from pathlib import Path

import pytest
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.connection import address_of, connect
from nordiq_watch.config.environment import Remote
from nordiq_watch.config.schema import Config, ServerSettings
from nordiq_watch.errors import ClientError, ConfigError

NOBODY = Remote()


def write_config(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


class TestConnect:
    def test_the_option_wins_over_the_environment(self) -> None:
        client = connect("http://option", remote=Remote(url="http://environment", api_key="k"))
        assert client.url == "http://option"

    def test_the_environment_wins_over_the_config(self, tmp_path: Path) -> None:
        config = write_config(tmp_path, "server: {port: 9000}")
        assert connect(config=config, remote=Remote(url="http://environment")).url == "http://environment"

    def test_the_config_names_the_address(self, tmp_path: Path) -> None:
        config = write_config(tmp_path, "server: {port: 9000}")
        assert connect(config=config, remote=NOBODY).url == "http://127.0.0.1:9000"

    def test_the_config_of_this_folder_is_the_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_config(tmp_path, "server: {port: 9001}")
        monkeypatch.chdir(tmp_path)
        assert connect(remote=NOBODY).url == "http://127.0.0.1:9001"

    def test_without_any_config_the_defaults_hold(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        assert connect(remote=NOBODY).url == "http://127.0.0.1:8000"

    def test_the_environment_holds_without_a_config_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("NORDIQ_SERVER__PORT", "9002")
        assert connect(remote=NOBODY).url == "http://127.0.0.1:9002"

    def test_a_config_that_was_named_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            connect(config=tmp_path / "nothing.yaml", remote=NOBODY)

    def test_a_broken_config_does_not_matter_to_who_needs_none(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_config(tmp_path, "server: [")
        monkeypatch.chdir(tmp_path)
        assert connect("http://option", remote=Remote(api_key="k")).url == "http://option"

    def test_the_key_of_the_environment_wins_over_the_files(self, stub: StubDaemon, tmp_path: Path) -> None:
        key_file = tmp_path / "key"
        key_file.write_text("from-the-file")
        stub.answers["GET", "/status"] = (200, {})
        connect(stub.url, key_file=key_file, remote=Remote(api_key="from-environment")).http.get("/status")
        assert stub.requests[0].headers["X-API-Key"] == "from-environment"

    def test_a_key_file_that_was_named_wins_over_the_config(self, stub: StubDaemon, tmp_path: Path) -> None:
        config = write_config(tmp_path, "auth: {key_file: my_key}")
        for name in ("my_key", "named"):
            (tmp_path / name).write_text(f"from-{name}\n")
        stub.answers["GET", "/status"] = (200, {})
        connect(stub.url, config=config, key_file=tmp_path / "named", remote=NOBODY).http.get("/status")
        assert stub.requests[0].headers["X-API-Key"] == "from-named"

    def test_a_key_file_that_was_named_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ClientError, match="there is no such key file"):
            connect("http://option", key_file=tmp_path / "nothing", remote=NOBODY)

    def test_a_key_file_without_a_key_is_a_mistake(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(ConfigError, match="holds no API key"):
            connect("http://option", key_file=tmp_path / "empty", remote=NOBODY)

    def test_the_key_file_of_the_config_lies_beside_it(self, stub: StubDaemon, tmp_path: Path) -> None:
        config = write_config(tmp_path, "auth: {key_file: my_key}")
        (tmp_path / "my_key").write_text("from-config\n")
        stub.answers["GET", "/status"] = (200, {})
        connect(stub.url, config=config, remote=NOBODY).http.get("/status")
        assert stub.requests[0].headers["X-API-Key"] == "from-config"

    def test_a_key_that_no_header_can_carry_is_not_shown(self) -> None:
        with pytest.raises(ConfigError, match="NORDIQ_API_KEY") as caught:
            connect("http://option", remote=Remote(api_key="schlüssel"))
        assert "schlüssel" not in str(caught.value)

    def test_no_key_at_all_is_sent_as_none(self, stub: StubDaemon, tmp_path: Path) -> None:
        stub.answers["GET", "/status"] = (200, {})
        connect(stub.url, config=write_config(tmp_path, ""), remote=NOBODY).http.get("/status")
        assert "X-API-Key" not in stub.requests[0].headers


class TestAddress:
    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("127.0.0.1", "http://127.0.0.1:8000"),
            ("0.0.0.0", "http://127.0.0.1:8000"),
            ("::", "http://[::1]:8000"),
            ("watch.example.net", "http://watch.example.net:8000"),
        ],
    )
    def test_where_a_daemon_is_reached(self, host: str, url: str) -> None:
        assert address_of(Config(server=ServerSettings(host=host))) == url

    def test_any_free_port_cannot_be_known(self) -> None:
        with pytest.raises(ClientError, match=r"server\.port is 0"):
            address_of(Config(server=ServerSettings(port=0)))
