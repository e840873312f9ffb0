"""The commands that talk to a daemon, as processes, against a real one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import DaemonProcess
from support.fleet import METRICS
from support.trained_models import TrainedModels

from nordiq_watch.config.environment import environment_without_settings

pytestmark = pytest.mark.slow

OLDER, NEWER, EMPTY = "tft_model_20250130_143000", "tft_model_20250131_143000", "tft_model_20250129_143000"


@pytest.fixture(scope="module")
def daemon(trained_models: TrainedModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """Two versions, of which the newer is live, and one that holds nothing."""
    root = tmp_path_factory.mktemp("commands")
    window = {"length": trained_models.settings.config.training.max_encoder_length}
    training = {"max_encoder_length": window["length"]}
    with DaemonProcess(root, metrics=METRICS, window=window, training=training) as daemon:
        for name, directory in zip((OLDER, NEWER), trained_models.directories, strict=True):
            shutil.copytree(directory, root / name)
            (root / name).rename(daemon.models / name)
            daemon.wait_for_live(name)
        (daemon.models / EMPTY).mkdir()
        yield daemon


def run(daemon: DaemonProcess, *arguments: str, key: str | None = None) -> subprocess.CompletedProcess[str]:
    """As a user of the daemon's own machine: the key comes from the config's key file."""
    environment = environment_without_settings() | {"NORDIQ_URL": daemon.url}
    environment.pop("NORDIQ_API_KEY", None)
    return subprocess.run(
        [sys.executable, "-m", "nordiq_watch", *arguments],
        env=environment | ({"NORDIQ_API_KEY": key} if key else {}),
        cwd=daemon.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def output(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_models_and_info(daemon: DaemonProcess) -> None:
    live, before, _ = output(run(daemon, "models"))[2:]
    assert live.split()[:2] == [NEWER, "live"]
    assert before.split()[:2] == [OLDER, "previous"]
    facts = dict(line.split(maxsplit=1) for line in output(run(daemon, "info")))
    assert facts["model_name"] == NEWER
    assert facts["config.targets"] == ", ".join(METRICS)


def test_a_version_by_name_back_again_and_unpinned(daemon: DaemonProcess) -> None:
    lines = output(run(daemon, "reload", OLDER))
    assert {line.split()[0] for line in lines[:-1]} >= {"verified", "loaded", "canary", "live"}
    assert lines[-1].startswith(f"models/{OLDER} is live, ")
    assert json.loads(run(daemon, "info", "--json").stdout)["pinned"] is True
    assert output(run(daemon, "unpin"))[-1].startswith("unpinned: ")
    assert output(run(daemon, "reload"))[-1].startswith(f"models/{NEWER} is live")
    assert output(run(daemon, "rollback"))[-1].startswith(f"models/{OLDER} is live, ")
    states = {model["name"]: model["state"] for model in json.loads(run(daemon, "models", "--json").stdout)["models"]}
    assert (states[OLDER], states[NEWER]) == ("live", "quarantined")
    assert output(run(daemon, "reload", NEWER))[-1].startswith(f"models/{NEWER} is live")


def test_a_version_that_cannot_be_loaded(daemon: DaemonProcess) -> None:
    live = daemon.model_info()["model_path"]
    done = run(daemon, "reload", EMPTY)
    assert done.returncode == 1
    assert done.stderr.startswith("error: reload ")
    assert "model.safetensors" in done.stderr
    assert done.stderr.endswith(f"; {live} is still live\n")
    done = run(daemon, "reload", "../elsewhere")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_reloads(daemon: DaemonProcess) -> None:
    rows = output(run(daemon, "reloads"))[2:]
    first = rows[-1].split()
    assert OLDER in first
    assert "loaded" in first
    facts = output(run(daemon, "reloads", first[0]))
    assert any(line.split() == ["outcome", "loaded"] for line in facts)
    done = run(daemon, "reloads", "99999")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: Not found: no reload has the id")


def test_the_agent_feeds_this_host(daemon: DaemonProcess) -> None:
    before = daemon.get("/status")["servers_tracked"]
    lines = output(run(daemon, "agent", "--once", "--name", "web01"))
    assert any(line.startswith("mem_used_pct ") for line in lines)
    assert daemon.get("/status")["servers_tracked"] == before + 1


def test_a_wrong_key_is_named_by_its_source(daemon: DaemonProcess) -> None:
    done = run(daemon, "models", key="guess")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {daemon.url} refused the API key from NORDIQ_API_KEY")
    assert "guess" not in done.stderr


def test_a_key_file_by_name(daemon: DaemonProcess, tmp_path: Path) -> None:
    shutil.copy(daemon.root / ".nordiq_key", tmp_path / "key")
    assert run(daemon, "models", "--key-file", str(tmp_path / "key")).returncode == 0
