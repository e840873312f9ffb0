"""Whatever keeps the daemon from starting is one line on stderr that says what, where and what to do; exit code 1."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.daemon import DaemonProcess, clean_environment
from support.models import drop_model, tiny_spec

from nordiq_watch.cli.main import main

pytestmark = pytest.mark.slow


def serve(root: Path, config: str) -> str:
    (root / "config.yaml").write_text(config)
    return run(root, "serve", "--config", "config.yaml")


def run(root: Path, *arguments: str, **environ: str) -> str:
    """The one line that a failing command prints last, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "nordiq_watch", *arguments],
        cwd=root,
        env=clean_environment() | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return error_line(done.returncode, done.stderr)


def error_line(code: int, stderr: str) -> str:
    assert code == 1, stderr
    assert "Traceback" not in stderr
    (error,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    return error


@dataclass
class Here:
    """Commands that fail before they begin anything: run in this process, in the folder `root`."""

    root: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> str:
        self.capsys.readouterr()
        return error_line(main(list(arguments)), self.capsys.readouterr().err)

    def serve(self, config: str) -> str:
        (self.root / "config.yaml").write_text(config)
        return self.run("serve", "--config", "config.yaml")


@pytest.fixture
def here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, untouched_logging: None
) -> Here:
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Here(tmp_path, capsys)


def test_an_unknown_key(tmp_path: Path) -> None:
    error = serve(tmp_path, "server: {prot: 1}")
    assert "unknown key 'server.prot'; allowed here: host, port, threads" in error


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("server: {port: high}", "server.port is 'high', but: expected a whole number"),
        ("server: {port: 70000}", "server.port is 70000, but: expected a whole number <= 65535"),
        ("watch: {mode: magic}", "watch.mode is 'magic'"),
        ("metrics: []", "metrics is [], but"),
        ("metrics: [cpu_user_pct, cpu_user_pct]", "metrics names cpu_user_pct twice"),
        ("metrics: [cpu_user_pct, status]", "metrics names status, which a record uses for something else"),
        ("metrics: [cpu_user_pct, alert]", "metrics names alert, which an answer uses for something else"),
        ("window: {length: 100}", "training.max_encoder_length is 288, but window.length is 100"),
        ("- a list", "must hold sections"),
        (
            "feeders: {relabel: [{source_labels: [host], regex: '(web'}]}",
            "feeders.relabel[0].regex: '(web' is no regular",
        ),
        (
            "feeders: {relabel: [{source_label: host}]}",
            "unknown key 'feeders.relabel[0].source_label'; allowed here: source_labels, separator, regex",
        ),
        (
            "feeders: {prometheus: {metrics: {load_average: {values: node_load5}}}}",
            "unknown key 'feeders.prometheus.metrics[...].values'; allowed here: value, of",
        ),
        ("server: {port: [", "is not YAML"),
    ],
)
def test_a_wrong_value(here: Here, config: str, says: str) -> None:
    assert says in here.serve(config)


def test_the_environment_is_named_when_it_is_to_blame(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORDIQ_SERVER__THREADS", "many")
    error = here.serve("")
    assert "NORDIQ_SERVER__THREADS: server.threads is 'many'" in error


def test_no_config_file(here: Here) -> None:
    assert "nowhere.yaml: cannot be read" in here.run("serve", "--config", "nowhere.yaml")


def test_the_models_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    assert "is a file" in serve(tmp_path, "server: {port: 0}")


def test_a_state_directory_that_another_daemon_uses(tmp_path: Path) -> None:
    """Two that shared a journal would each empty it of what only the other has in its window."""
    with DaemonProcess(tmp_path, metrics=["cpu_user_pct"]) as first:
        error = run(tmp_path, "serve", NORDIQ_SERVER__PORT="0")
        assert f"state.dir {tmp_path / 'state'} is in use by another daemon" in error
        first.kill()
        first.start()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_models_directory_that_cannot_be_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be made" in serve(tmp_path, "models: {dir: deep/models}")


def test_a_models_directory_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be made (Not a directory)" in serve(tmp_path, "models: {dir: file/models}")


def test_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = serve(tmp_path, f"server: {{port: {port}}}")
    assert f"port {port}: another program listens there" in error


def test_an_empty_key_file(tmp_path: Path) -> None:
    (tmp_path / ".nordiq_key").write_text("\n")
    assert "holds no API key" in serve(tmp_path, "server: {port: 0}")


def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    assert "device is cuda:97" in serve(tmp_path, "device: cuda:97")


def test_damaged_decisions_are_not_forgotten_in_silence(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "decisions.json").write_text("{")
    assert "decisions.json: is damaged" in serve(tmp_path, "server: {port: 0}")


class TestVerify:
    def test_a_good_one(self, tmp_path: Path) -> None:
        directory = drop_model(tmp_path, "tft_model_20250101_000000")
        done = subprocess.run(
            [sys.executable, "-m", "nordiq_watch", "verify", str(directory)], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("tft_model_20250101_000000: complete and loadable")

    def test_truncated_weights(self, here: Here) -> None:
        directory = drop_model(here.root, "tft_model_20250101_000000")
        weights = directory / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
        assert "is not complete: model.safetensors has" in here.run("verify", str(directory))

    def test_a_missing_file(self, here: Here) -> None:
        directory = drop_model(here.root, "tft_model_20250101_000000")
        (directory / "config.json").unlink()
        assert "config.json missing" in here.run("verify", str(directory))

    def test_a_flipped_bit(self, here: Here) -> None:
        directory = drop_model(here.root, "tft_model_20250101_000000")
        content = bytearray((directory / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (directory / "model.safetensors").write_bytes(content)
        assert "check: sha256" in here.run("verify", str(directory))

    def test_a_metric_that_the_daemon_does_not_have(self, here: Here) -> None:
        spec = tiny_spec(targets=("gpu_pct",))
        directory = drop_model(here.root, "tft_model_20250101_000000", spec=spec)
        (here.root / "config.yaml").write_text("")
        error = here.run("verify", str(directory), "--config", "config.yaml")
        assert "needs gpu_pct, which the daemon does not have" in error

    def test_no_directory(self, here: Here) -> None:
        assert "is not a directory" in here.run("verify", "nowhere")


def test_a_models_directory_that_everybody_may_write_to(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models").chmod(0o777)
    error = serve(tmp_path, "server: {port: 0}")
    assert "can be written by every user of this machine" in error
    assert "chmod o-w" in error


def test_other_machines_without_a_key(tmp_path: Path) -> None:
    assert "there is no API key. Set NORDIQ_API_KEY" in serve(tmp_path, "server: {host: 0.0.0.0, port: 0}")
