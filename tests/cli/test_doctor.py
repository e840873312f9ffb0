"""`check-config` and `doctor`: plain words and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.daemon import DaemonProcess
from support.models import METRICS, drop_model, tiny_spec

from nordiq_watch.cli.main import main
from nordiq_watch.storage.decisions import DecisionStore

A = "tft_model_20250101_000000"
LENGTH = tiny_spec().max_encoder_length
CONFIG = (
    f"server: {{port: 0}}\nwindow: {{length: {LENGTH}}}\ntraining: {{max_encoder_length: {LENGTH}}}\n"
    f"metrics: [{', '.join(METRICS)}]\n"
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    (tmp_path / "models").mkdir()
    return file


def test_a_good_config_says_what_differs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG + "limits: {mode: always}\n")
    assert main(["check-config", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "can be used" in out
    assert "server.port (takes a restart)" in out
    assert "limits.mode (taken at SIGHUP)" in out


def test_a_bad_config_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("server: {prot: 1}")
    assert main(["check-config", "--config", str(config)]) == 1
    assert "unknown key 'server.prot'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("auth: {public: [/helth]}", "auth.public names /helth, which the API does not have"),
        (
            'feeders: {prometheus: {metrics: {cpu_user_pct: {value: "sum(("}}}}',
            "feeders.prometheus.metrics.cpu_user_pct: 'sum((' is no selector",
        ),
        (
            "server: {url_prefix: /nordiq/}",
            "server.url_prefix is '/nordiq/'; write a path with a slash in front and none at",
        ),
        ("alerts: {webhook: {headers: {Host: x}}}", "alerts.webhook.headers: Host is set by nordiq-watch itself"),
        ("server: {url_prefix: nordiq}", "server.url_prefix is 'nordiq'; write a path with a slash in front"),
        ('server: {trusted_proxy: "10.0.0.1:80"}', "server.trusted_proxy is '10.0.0.1:80', which is no IP address"),
    ],
)
def test_what_would_end_a_start_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, says: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert main(["check-config", "--config", str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {file}: {says}")


def test_the_doctor_on_a_good_machine(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drop_model(tmp_path / "models", A)
    assert main(["doctor", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert f"{A} can be loaded" in out
    assert "models run on" in out
    assert out.splitlines()[-1] == "nothing bad"


@pytest.mark.parametrize("name", ["tft_model_29990101_000000", "tft_model_99991231_235959"])
def test_the_doctor_names_versions_from_the_future(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for version in (A, name):
        drop_model(tmp_path / "models", version)
    assert main(["doctor", "--config", str(config)]) == 0
    ahead = [line for line in capsys.readouterr().out.splitlines() if "ahead of this machine's clock" in line]
    assert len(ahead) == 1
    assert f"WARNING models         {name} is named" in ahead[0]
    assert "later drops look older than it and do not go live" in ahead[0]


def test_the_doctor_finds_what_is_bad(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drop_model(tmp_path / "models", A)
    (tmp_path / "models" / A / "model.safetensors").write_bytes(b"broken")
    (tmp_path / "models").chmod(0o777)
    assert main(["doctor", "--config", str(config)]) == 1
    out = capsys.readouterr().out
    assert "run: chmod o-w" in out
    assert "is not complete" in out
    assert out.splitlines()[-1] == "1 bad"


def test_the_doctor_comes_to_an_end_whatever_it_cannot_look_at(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    too_long = "x" * 300
    places = {"models": "dir", "state": "dir", "logs": "dir", "auth": "key_file"}
    text = CONFIG.replace("port: 0", "host: a..b, port: 1")
    config.write_text(text + "".join(f"{section}: {{{key}: {too_long}}}\n" for section, key in places.items()))
    assert main(["doctor", "--config", str(config)]) == 1
    out = capsys.readouterr().out
    assert "a..b port 1 cannot be listened on" in out
    assert "newest model   it cannot be looked at" in out
    assert out.splitlines()[-1] == "2 bad"


@pytest.mark.slow
def test_beside_a_running_daemon_its_port_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DaemonProcess(tmp_path, metrics=METRICS) as daemon:
        port = daemon.url.rpartition(":")[2]
        daemon.config_file.write_text(CONFIG.replace("port: 0", f"port: {port}"))
        assert main(["doctor", "--config", str(daemon.config_file)]) == 0
    assert "a nordiq_watch answers at 127.0.0.1" in capsys.readouterr().out


@pytest.mark.parametrize(("there", "says"), [(True, "newer drops wait"), (False, "its directory is gone")])
def test_a_pin_is_told_and_whether_its_version_is_there(
    config: Path, capsys: pytest.CaptureFixture[str], there: bool, says: str
) -> None:
    if there:
        drop_model(config.parent / "models", A)
    store = DecisionStore(config.parent / "state" / "decisions.json")
    store.save(store.current.with_pin(A))
    main(["doctor", "--config", str(config)])
    line = next(line for line in capsys.readouterr().out.splitlines() if f"{A} is pinned" in line)
    assert says in line
