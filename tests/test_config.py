from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import yaml

from nordiq_watch.config import Config, load_settings
from nordiq_watch.errors import ConfigError

SHIPPED = Path(__file__).parent.parent / "config.yaml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    assert load_settings(SHIPPED, {}).config == Config()
    assert yaml.safe_load(SHIPPED.read_text()) == json.loads(msgspec.json.encode(Config()))


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load_settings(written(tmp_path, ""), {}).config == Config()


def test_the_environment_wins(tmp_path: Path) -> None:
    environ = {
        "NORDIQ_SERVER__PORT": "9000",
        "NORDIQ_METRICS": "cpu_user_pct, mem_used_pct",
        "NORDIQ_MODELS__KEEP": "3",
        "NORDIQ_WATCH__ENABLED": "false",
        "NORDIQ_DEVICE": "cpu",
        "NORDIQ_RELOAD__CANARY__MAX_DISTANCE": "7.5",
        "HOME": "/root",
    }
    config = load_settings(written(tmp_path, "server: {port: 1, threads: 2}"), environ).config
    assert (config.server.port, config.server.threads) == (9000, 2)
    assert config.metrics == ("cpu_user_pct", "mem_used_pct")
    assert (config.models.keep, config.watch.enabled, config.device) == (3, False, "cpu")
    assert config.reload.canary.max_distance == 7.5


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, "models: {dir: m}\nstate: {dir: /var/s}"), {})
    assert settings.models_dir == tmp_path / "m"
    assert settings.state_dir == Path("/var/s")
    assert settings.log_file == tmp_path / "logs" / "inference_daemon.log"


def test_the_key_is_no_setting(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, ""), {"NORDIQ_API_KEY": "secret"})
    assert settings.api_key == "secret"
    assert "secret" not in repr(settings.config)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"NORDIQ_FOO": "1"}, "NORDIQ_FOO: unknown key 'foo'"),
        ({"NORDIQ_SERVER__FOO": "1"}, "NORDIQ_SERVER__FOO: unknown key 'server.foo'"),
        ({"NORDIQ_DEVICE__X": "1"}, "NORDIQ_DEVICE__X"),
        ({"NORDIQ_METRICS": "a b"}, "NORDIQ_METRICS"),
        ({"NORDIQ_SERVER__HOST": "["}, "cannot be read as a value"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(tmp_path: Path, environ: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match="NORDIQ") as caught:
        load_settings(written(tmp_path, "device: cpu"), environ)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
