from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_fleet import METRICS, fleet_table, write_dataset

from nordiq_watch import offline
from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.manifest import read_spec
from nordiq_watch.training.assembly import Assembled, Assembly
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.members.descent import Parameters

SMALL: dict[str, Any] = {
    "metrics": list(METRICS),
    "device": "cpu",
    "training": {
        "hidden_size": 8,
        "attention_heads": 2,
        "max_encoder_length": 12,
        "max_prediction_length": 4,
        "batch_size": 16,
        "max_batches_per_epoch": 1,
    },
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_frame_becomes_a_model_directory(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    directory = offline.train(fleet_table(), epochs=1, settings=SMALL, drop_anyway=True, quiet=True)
    assert directory.parent == folder / "models"
    assert judge(directory).complete
    assert read_spec(directory).network.hidden_size == 8
    assert capfd.readouterr() == ("", "")
    assert len(offline.forecast(directory, fleet_table())) == 3 * 2 * 4


@pytest.mark.slow
def test_a_config_file_counts_and_settings_win(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "my.yaml").write_text("metrics: [cpu_user_pct, mem_used_pct]\ntraining: {max_encoder_length: 10}")
    sizes = {key: value for key, value in SMALL["training"].items() if key != "max_encoder_length"}
    directory = offline.train(
        fleet_table(),
        epochs=1,
        config="my.yaml",
        settings={"metrics": ["cpu_user_pct"], "training": sizes},
        models_dir="elsewhere",
        drop_anyway=True,
    )
    spec = read_spec(directory)
    assert directory.parent == Path("elsewhere")
    assert (spec.max_encoder_length, spec.targets) == (10, ("cpu_user_pct",))
    assert "windows to train on" in capfd.readouterr().err


@pytest.mark.slow
def test_a_member_that_is_not_finite_is_not_dropped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renew = Assembly.renew

    def renew_badly(assembly: Assembly, assembled: Assembled, data: FleetData) -> Parameters:
        extras = renew(assembly, assembled, data)
        extras["rows.inner_weight"].view(-1)[-1] = torch.inf
        return extras

    monkeypatch.setattr(Assembly, "renew", renew_badly)
    with pytest.raises(offline.NotDropped, match=r"rows\.inner_weight in extras\.safetensors is not finite") as error:
        offline.train(fleet_table(), epochs=1, settings=SMALL, drop_anyway=True, quiet=True)
    (kept,) = (folder / "models").iterdir()
    assert f"It stays in {kept}" in str(error.value)


INTERRUPTED = """
from pathlib import Path
from nordiq_watch import offline

settings = %(settings)r
try:
    offline.train("data", epochs=1_000_000, settings=settings, drop_anyway=True)
except KeyboardInterrupt:
    assert Path("models/.training_checkpoint/checkpoint.safetensors").is_file()
    print(offline.train("data", epochs=1, settings=settings, drop_anyway=True, resume=True))
"""


@pytest.mark.slow
def test_an_interrupted_training_goes_on(folder: Path) -> None:
    write_dataset(folder / "data")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED % {"settings": SMALL}],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "windows/s" in line:  # it has validated
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "going on after" in err
    assert [path.name for path in (folder / "models").iterdir()] == [Path(out.strip()).name]
    assert judge(Path(out.strip())).complete


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(folder: Path) -> None:
    with pytest.raises(offline.CheckpointError, match="there is no interrupted training to resume"):
        offline.train(fleet_table(), settings=SMALL, quiet=True, resume=True)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"training": {"hidden": 8}}, "settings: unknown key 'training.hidden'; allowed here: hidden_size"),
        ({"training": {"hidden_size": "8"}}, "settings: training.hidden_size is '8', but: expected a whole number"),
        ({"training": {"max_encoder_length": 400}}, "settings: training.max_encoder_length is 400, but window.length"),
    ],
)
def test_settings_that_cannot_be_used_are_said_in_one_line(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(offline.ConfigError) as error:
        offline.train(fleet_table(), epochs=1, settings=settings)
    assert str(error.value).startswith(line)


def test_a_frame_that_cannot_be_used_is_said_in_one_line() -> None:
    with pytest.raises(offline.DatasetError, match=r"^DataFrame: lacks timestamp; its columns are"):
        offline.train(fleet_table().drop(columns="timestamp"), epochs=1, settings=SMALL, quiet=True)


@pytest.mark.parametrize(
    ("limits", "line"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"max_minutes": 0.0}, "max_minutes is 0.0; it must be a number above 0"),
        ({"max_minutes": float("nan")}, "max_minutes is nan; it must be a number above 0"),
    ],
)
def test_limits_that_are_none_are_refused(limits: dict[str, Any], line: str) -> None:
    with pytest.raises(offline.ConfigError) as error:
        offline.train(fleet_table(), settings=SMALL, **limits)
    assert str(error.value) == line
