from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.stub_daemon import StubDaemon

from nordiq_watch.cli.client import Client, address_of, connect
from nordiq_watch.config import Config, Remote, Server
from nordiq_watch.errors import ClientError, ConfigError, DaemonAway, DaemonRefused
from nordiq_watch.host.keys import ApiKey

NOBODY = Remote()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_config(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


class TestRequests:
    def test_the_key_goes_into_the_header(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/admin/models"] = (200, {"models": []})
        Client(stub.url, key=ApiKey("secret", source="a test")).models()
        assert stub.requests[0].headers["X-API-Key"] == "secret"

    def test_an_answer_keeps_the_text_as_it_came(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/status"] = (200, '{"running":true,  "extra": 1}')
        answer = Client(stub.url).status()
        assert answer.text == '{"running":true,  "extra": 1}'
        assert answer.body == {"running": True, "extra": 1}

    def test_reload_names_the_version_and_may_not_wait(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/admin/reload-model?model_path=tft_model_a&wait=false"] = (202, {"id": 7})
        assert Client(stub.url).reload("tft_model_a", wait=False).body == {"id": 7}

    def test_reload_of_the_latest_names_nothing(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/admin/reload-model"] = (200, {"success": True})
        assert Client(stub.url).reload().body["success"]

    @pytest.mark.parametrize("status", [404, 422, 503])
    def test_a_reload_that_failed_is_an_answer(self, stub: StubDaemon, status: int) -> None:
        stub.answers["POST", "/admin/rollback"] = (status, {"success": False, "error": "No model found"})
        answer = Client(stub.url).rollback()
        assert (answer.status, answer.body["success"]) == (status, False)

    def test_feed_sends_records(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/feed/data"] = (200, {"status": "accepted"})
        Client(stub.url).feed([{"server_name": "a"}])
        assert stub.requests[0].body == {"records": [{"server_name": "a"}]}

    def test_a_slash_at_the_end_of_the_address_does_not_matter(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/health"] = (200, {"running": True})
        assert Client(stub.url + "/").health().body["running"]

    @pytest.mark.parametrize(("status", "ready"), [(200, True), (503, False)])
    def test_ready_is_a_yes_or_a_no(self, stub: StubDaemon, status: int, ready: bool) -> None:
        stub.answers["GET", "/ready"] = (status, {"error": "Not ready", "detail": "no model"})
        assert Client(stub.url).ready() is ready

    def test_ready_is_no_answer_of_somebody_else(self, stub: StubDaemon) -> None:
        with pytest.raises(DaemonRefused, match="HTTP 404"):
            Client(stub.url).ready()


class TestFailures:
    def test_nobody_there(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        with pytest.raises(DaemonAway) as caught:
            Client(url).health()
        assert str(caught.value) == (
            f"no daemon answers at {url} (connection refused): start it with `nordiq-watch serve` or give --url"
        )

    def test_an_answer_that_does_not_come(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}", answer_seconds=0.05)
            with pytest.raises(DaemonAway, match="did not answer GET /health in time"):
                client.health()

    def test_a_name_that_nobody_knows(self) -> None:
        with pytest.raises(DaemonAway, match=r"no daemon answers at http://no-such-host\.invalid"):
            Client("http://no-such-host.invalid").health()

    def test_a_wrong_key_is_named_by_its_source_and_not_shown(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/admin/models"] = (401, {"error": "Unauthorized"})
        with pytest.raises(DaemonRefused) as caught:
            Client(stub.url, key=ApiKey("s3cret", source="NORDIQ_API_KEY")).models()
        assert "refused the API key from NORDIQ_API_KEY" in str(caught.value)
        assert "s3cret" not in str(caught.value)
        assert caught.value.status == 401

    def test_no_key_says_where_one_is_looked_for(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/admin/models"] = (401, {"error": "Unauthorized"})
        with pytest.raises(DaemonRefused, match="wants an API key and none was found: set NORDIQ_API_KEY or give"):
            Client(stub.url).models()

    def test_an_error_is_told_in_the_words_of_the_daemon(self, stub: StubDaemon) -> None:
        stub.answers["POST", "/feed/data"] = (400, {"error": "Bad request", "detail": "records is missing"})
        with pytest.raises(DaemonRefused, match=r"^Bad request: records is missing \(HTTP 400\)$"):
            Client(stub.url).feed([])

    @pytest.mark.parametrize("text", ["<html>", "[1]", ""])
    def test_somebody_else_at_the_address(self, stub: StubDaemon, text: str) -> None:
        stub.answers["GET", "/status"] = (200, text)
        with pytest.raises(DaemonRefused, match="is this a nordiq_watch daemon"):
            Client(stub.url).status()

    def test_a_redirect_does_not_carry_the_key_away(self, stub: StubDaemon) -> None:
        stub.answers["GET", "/status"] = (302, f"{stub.url}/elsewhere")
        with pytest.raises(DaemonRefused, match="HTTP 302"):
            Client(stub.url, key=ApiKey("secret", source="a test")).status()
        assert [request.path for request in stub.requests] == ["/status"]

    def test_a_proxy_is_not_asked_for_loopback(self, stub: StubDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
        stub.answers["GET", "/health"] = (200, {"running": True})
        assert Client(stub.url).health().status == 200

    @pytest.mark.parametrize("url", ["localhost:8000", "ftp://a", "http://", "http://a:port", "", "http://[::1"])
    def test_an_address_that_is_none(self, url: str) -> None:
        with pytest.raises(ClientError, match="write it like http"):
            Client(url)


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
        connect(stub.url, key_file=key_file, remote=Remote(api_key="from-environment")).status()
        assert stub.requests[0].headers["X-API-Key"] == "from-environment"

    def test_a_key_file_that_was_named_wins_over_the_config(self, stub: StubDaemon, tmp_path: Path) -> None:
        config = write_config(tmp_path, "auth: {key_file: my_key}")
        for name in ("my_key", "named"):
            (tmp_path / name).write_text(f"from-{name}\n")
        stub.answers["GET", "/status"] = (200, {})
        connect(stub.url, config=config, key_file=tmp_path / "named", remote=NOBODY).status()
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
        connect(stub.url, config=config, remote=NOBODY).status()
        assert stub.requests[0].headers["X-API-Key"] == "from-config"

    def test_a_key_that_no_header_can_carry_is_not_shown(self) -> None:
        with pytest.raises(ConfigError, match="NORDIQ_API_KEY") as caught:
            connect("http://option", remote=Remote(api_key="schlüssel"))
        assert "schlüssel" not in str(caught.value)

    def test_no_key_at_all_is_sent_as_none(self, stub: StubDaemon, tmp_path: Path) -> None:
        stub.answers["GET", "/status"] = (200, {})
        connect(stub.url, config=write_config(tmp_path, ""), remote=NOBODY).status()
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
        assert address_of(Config(server=Server(host=host))) == url

    def test_any_free_port_cannot_be_known(self) -> None:
        with pytest.raises(ClientError, match=r"server\.port is 0"):
            address_of(Config(server=Server(port=0)))
