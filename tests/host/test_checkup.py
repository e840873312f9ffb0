from __future__ import annotations

import re
import socket
from pathlib import Path

import msgspec
import pytest

from nordiq_watch.config.schema import Config, ModelSettings, ServerSettings, WatchSettings, WindowSettings
from nordiq_watch.config.settings import Settings
from nordiq_watch.host import checkup
from nordiq_watch.host.checkup import Finding, examine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "models").mkdir()
    return Settings(config=Config(server=ServerSettings(port=port)), root=tmp_path)


def changed(settings: Settings, **sections: object) -> Settings:
    return msgspec.structs.replace(settings, config=msgspec.structs.replace(settings.config, **sections))


def states(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.state for finding in findings}


def test_on_a_good_machine_nothing_is_bad_and_nothing_is_made(settings: Settings, tmp_path: Path) -> None:
    assert "bad" not in states(examine(settings)).values()
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def test_a_port_that_is_taken_by_somebody_else(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.config.server.port)) as other:
        other.settimeout(20)
        finding = checkup.check_port(settings)
    assert finding.state == "bad"
    assert "Address already in use" in finding.words


def test_keys(settings: Settings, tmp_path: Path) -> None:
    assert checkup.check_keys(settings).state == "good"
    assert checkup.check_keys(changed(settings, server=ServerSettings(host="0.0.0.0"))).state == "bad"
    file = tmp_path / ".nordiq_key"
    file.write_text("secret\n")
    file.chmod(0o644)
    assert checkup.check_keys(settings).state == "warning"
    file.chmod(0o600)
    finding = checkup.check_keys(settings)
    assert finding.state == "good"
    assert "secret" not in finding.words
    file.write_text("two words")
    assert checkup.check_keys(settings).state == "bad"


def test_a_directory_that_is_a_file(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert {finding.check: finding.state for finding in checkup.check_directories(settings)}["state"] == "bad"


def test_a_models_directory_that_everybody_may_write_to(settings: Settings) -> None:
    settings.models_dir.chmod(0o777)
    assert checkup.check_models_dir_mode(settings).state == "bad"
    allowed = changed(settings, models=ModelSettings(allow_world_writable=True))
    assert checkup.check_models_dir_mode(allowed).state == "warning"


def test_inotify(settings: Settings, tmp_path: Path) -> None:
    assert checkup.check_inotify(settings, tmp_path / "nowhere").state == "warning"
    (tmp_path / "max_user_watches").write_text("8\n")
    (tmp_path / "max_user_instances").write_text("128\n")
    assert checkup.check_inotify(settings, tmp_path).state == "warning"
    assert checkup.check_inotify(changed(settings, watch=WatchSettings(mode="poll")), tmp_path).state == "good"
    (tmp_path / "max_user_watches").write_text("100000\n")
    assert checkup.check_inotify(settings, tmp_path).state == "good"


def test_memory_is_compared_with_the_largest_model(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "free_host_bytes", lambda: 4e9)
    assert checkup.check_memory(settings).state == "good"
    for name in (".refused_tft_model_1", "tft_model_1"):
        assert checkup.check_memory(settings).state == "good"  # what is hidden is never loaded
        (settings.models_dir / name).mkdir()
        with (settings.models_dir / name / "model.safetensors").open("wb") as file:
            file.truncate(2 * 10**9)
    finding = checkup.check_memory(settings)
    assert finding.state == "warning"
    assert "6.0 GB wanted" in finding.words


def test_the_fleets_memory_is_compared_with_what_is_free(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "free_host_bytes", lambda: 8e9)
    few = changed(settings, window=WindowSettings(max_servers=100))
    assert checkup.check_fleet_memory(few).state == "good"
    finding = checkup.check_fleet_memory(changed(settings, window=WindowSettings(max_servers=1_000_000)))
    assert finding.state == "warning"
    assert "1,000,000 servers with 14 metrics take up to" in finding.words
    assert "8.0 GB are free: lower window.max_servers, or set it to auto" in finding.words


def test_auto_says_for_how_many_servers_there_is_room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "free_host_bytes", lambda: 8e9)
    finding = checkup.check_fleet_memory(changed(settings, window=WindowSettings(max_servers="auto")))
    assert finding.state == "good"
    assert re.search(r"window.max_servers is auto: \d+,\d+ servers with 14 metrics take up to 5.6 GB", finding.words)


def test_a_clock_that_was_never_set(settings: Settings) -> None:
    assert checkup.check_clock(lambda: 86_400.0).state == "bad"
    assert checkup.check_clock().state == "good"
