from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.small_fleet import fleet_table, write_dataset

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.manifest import read_spec
from nordiq_watch.cli.main import INTERRUPTED, main
from nordiq_watch.training import gate
from nordiq_watch.training.assembly import Assembled, Assembly
from nordiq_watch.training.dataset import FleetData
from nordiq_watch.training.members.descent import Parameters
from nordiq_watch.training.trainer import TrainingRun

pytestmark = pytest.mark.slow

CONFIG = """\
metrics: [cpu_user_pct, mem_used_pct]
device: cpu
training: {hidden_size: 8, attention_heads: 2, max_encoder_length: 12, max_prediction_length: 4, batch_size: 16,
           max_batches_per_epoch: 1}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is typed in, with a dataset in data/ and a config that trains at once."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "data")
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


GOOD_ENOUGH = ["--drop-anyway"]
"""One batch teaches nothing."""


def test_stdout_is_the_new_directory_alone(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dataset", "data", "--epochs", "1", *GOOD_ENOUGH]) == 0
    out, err = capfd.readouterr()
    directory = Path(out.removesuffix("\n"))
    assert directory.parent == folder / "models"
    assert judge(directory).complete
    assert re.search(r"cpu (native-\w+|torch) ", err)
    assert "windows/s" in err
    assert "Warning" not in err
    assert "GPU" not in err


def test_a_dry_run_says_what_the_dataset_is_and_trains_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--dataset", "data", "--dry-run"]) == 0
    out = capsys.readouterr().out
    servers = sorted(set(fleet_table()["server_name"]))
    assert f"servers   {len(servers)}: {servers[0]}" in out
    assert "300 s between the rows of a server as a rule" in out
    assert "metric    cpu_user_pct: " in out
    assert not (folder / "models").exists()


def test_a_dry_run_names_the_labels_that_no_network_reads(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(folder / "labelled", fleet_table().assign(labels='{"team": "web", "env": "prod"}'))
    assert main(["train", "--dataset", "labelled", "--dry-run"]) == 0
    assert "labels are no input of a model, left out: env, team" in capsys.readouterr().out


def test_columns_that_are_called_otherwise_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = fleet_table().rename(columns={"cpu_user_pct": "Busy (%)", "server_name": "Rack unit"})
    write_dataset(folder / "others", table)
    command = ["train", "--dataset", "others", "--epochs", "1", *GOOD_ENOUGH]
    named = ["--column", "cpu_user_pct=Busy (%)", "--column", "server_name=Rack unit"]
    assert main([*command, *named]) == 0
    directory = Path(capsys.readouterr().out.removesuffix("\n"))
    assert read_spec(directory).metrics == ("cpu_user_pct", "mem_used_pct")
    assert main(command) == 1
    assert "--column server_name=COLUMN" in capsys.readouterr().err


def test_minutes_limit_the_whole_command(folder: Path) -> None:
    minutes = 0.3
    (folder / "config.yaml").write_text(CONFIG.replace("max_batches_per_epoch: 1", "seed: 1"))
    began = time.monotonic()
    command = [sys.executable, "-m", "nordiq_watch", "train", "--dataset", "data", "--max-minutes", str(minutes)]
    command += GOOD_ENOUGH
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.monotonic() - began
    assert "training for 0.3 min at most" in done.stderr
    assert read_spec(Path(done.stdout.strip())).training_config["max_seconds"] == 60 * minutes
    assert seconds < 60 * minutes + 15  # of a machine that may be busy; ending early is allowed


def test_the_models_directory_can_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--dataset", "data", "--epochs", "1", "--models-dir", "elsewhere", *GOOD_ENOUGH]) == 0
    assert Path(capsys.readouterr().out.strip()).parent == Path("elsewhere")
    assert not (folder / "models").exists()


def test_a_model_worse_than_last_value_is_one_line_and_no_drop(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "MAX_RELATIVE_ERROR", 0.5)  # a whole training is hardly ever worse than it began
    assert main(["train", "--dataset", "data", "--epochs", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert "times last value's, at most 0.5 is allowed" in line
    assert "--drop-anyway" in line
    (kept,) = (folder / "models").iterdir()
    assert kept.name.startswith(".refused_tft_model_")
    assert judge(kept).complete


@pytest.fixture
def broken_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fit of the members, which no validation sees, is given what an equation solver once made of it."""
    renew = Assembly.renew

    def solve(_: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.full_like(right, np.nan)

    def renew_with_it(assembly: Assembly, assembled: Assembled, data: FleetData) -> Parameters:
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(np.linalg, "solve", solve)
            return renew(assembly, assembled, data)

    monkeypatch.setattr(Assembly, "renew", renew_with_it)


@pytest.mark.usefixtures("broken_solver")
@pytest.mark.parametrize("more", [[], GOOD_ENOUGH])
def test_a_member_that_is_not_finite_is_one_line_and_no_drop(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr(gate, "MAX_RELATIVE_ERROR", 1e6)  # the fault is found although the gate lets it pass
    assert main(["train", "--dataset", "data", "--epochs", "1", *more]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    (kept,) = (folder / "models").iterdir()
    assert kept.name.startswith(".refused_tft_model_")
    assert "(weights: linear.bias in extras.safetensors is not finite in float32)" in line
    assert f"It stays in {kept}, not dropped" in line
    assert judge(kept).complete
    assert main(["verify", str(kept)]) == 1
    assert "linear.bias in extras.safetensors is not finite in float32" in capsys.readouterr().err


def test_per_server_and_incremental_reach_the_trainer(capsys: pytest.CaptureFixture[str]) -> None:
    def train(*more: str) -> Path:
        assert main(["train", "--dataset", "data", "--epochs", "1", "--per-server", "TRUE", *more, *GOOD_ENOUGH]) == 0
        return Path(capsys.readouterr().out.strip())

    first = train()
    second = read_spec(train("--incremental"))
    assert "server_name" in second.network.static_categoricals
    assert second.training_config["incremental_from"] == first.name


def test_without_the_training_packages_it_says_how_to_get_them() -> None:
    script = (
        "import sys\n"
        "sys.modules['lightning'] = None  # as if it were not installed\n"
        "from nordiq_watch.cli.main import main\n"
        "sys.exit(main(['train', '--dataset', 'data', '--epochs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("error: lightning is not installed. Install nordiq_watch with its extra 'train': pip")
    assert done.stderr.count("\n") == 1


def test_another_config_file_is_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "my.yaml").write_text(CONFIG.replace("mem_used_pct", "swap_used_pct"))
    assert main(["train", "--dataset", "data", "--epochs", "1", "--config", "other/my.yaml", *GOOD_ENOUGH]) == 0
    directory = Path(capsys.readouterr().out.strip())
    assert directory.parent == folder / "other" / "models"
    assert read_spec(directory).targets == ("cpu_user_pct",)


def test_without_a_config_file_the_defaults_and_the_environment_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").unlink()
    sizes = {"HIDDEN_SIZE": 8, "MAX_ENCODER_LENGTH": 10, "MAX_PREDICTION_LENGTH": 4, "MAX_BATCHES_PER_EPOCH": 1}
    for name, value in sizes.items():
        monkeypatch.setenv(f"NORDIQ_TRAINING__{name}", str(value))
    assert main(["train", "--dataset", "data", "--epochs", "1", *GOOD_ENOUGH]) == 0
    directory = Path(capsys.readouterr().out.strip())
    assert directory.parent == folder / "models"
    assert read_spec(directory).max_encoder_length == 10


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--dataset", "nowhere"], "error: nowhere: does not exist"),
        (["--dataset", "data", "--config", "no.yaml"], "error: no.yaml: cannot be read (No such file or directory)"),
        (
            ["--dataset", "data", "--models-dir", "config.yaml/models"],
            "error: config.yaml is a file, models need a directory",
        ),
    ],
)
def test_a_users_mistake_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--epochs", "1", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    errors = [text for text in err.splitlines() if text.startswith("error:")]
    assert len(errors) == 1
    assert errors[0].startswith(line)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--dataset", "data", "--epochs", "0"], "0 is not a whole number from 1"),
        (["--dataset", "data", "--epochs", "two"], "two is not a whole number from 1"),
        (["--dataset", "data", "--epochs", "1", "--per-server", "maybe"], "maybe is neither true nor false"),
        (["--epochs", "1"], "--dataset"),
        (["--dataset", "data", "--max-minutes", "0"], "0 is not a number of minutes above 0"),
        (["--dataset", "data", "--max-minutes", "inf"], "inf is not a number of minutes above 0"),
        (["--dataset", "data", "--max-minutes", "ten"], "ten is not a number of minutes above 0"),
    ],
)
def test_a_mistyped_command_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", *arguments])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "nordiq-watch train --dataset data/\n" in capsys.readouterr().out


def test_an_interruption_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: TrainingRun) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(TrainingRun, "execute", interrupted)
    assert main(["train", "--dataset", "data", "--epochs", "1"]) == INTERRUPTED
    assert capsys.readouterr() == ("", "interrupted: no model was written\n")
