"""`train` is interrupted, killed or out of disk, and goes on with --resume: real processes, signals and disks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.small_fleet import fleet_table, write_dataset

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.manifest import read_spec

pytestmark = pytest.mark.slow

CONFIG = """\
metrics: [cpu_user_pct, mem_used_pct]
device: cpu
training: {hidden_size: 8, attention_heads: 2, max_encoder_length: 12, max_prediction_length: 4, batch_size: 16,
           max_batches_per_epoch: 2}
"""
TRAIN = ["train", "--dataset", "data", "--drop-anyway"]
ENDLESS = ["--epochs", "1000000"]
SECONDS = 120
CHECKPOINT = ".training_checkpoint"

WRITE_OFTEN = """\
import sys
from nordiq_watch.cli.main import main
from nordiq_watch.training import checkpoint_writer
checkpoint_writer.INTERVAL_SECONDS = 0.0
sys.exit(main(sys.argv[1:]))
"""


def take_sigint() -> None:
    """A test that runs in the background would hand on that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(folder: Path, *options: str, program: Sequence[str] = ("-m", "nordiq_watch")) -> subprocess.Popen[str]:
    """Trains in a process of its own, and returns once it has validated."""
    process = subprocess.Popen(
        [sys.executable, *program, *TRAIN, *options],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_sigint,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "windows/s" in line:
            return process
    raise AssertionError(f"it ended with {process.wait()}")


def train(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nordiq_watch", *TRAIN, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def make_folder(folder: Path) -> Path:
    write_dataset(folder / "data")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


def models_of(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "models").iterdir())


def last_line(text: str) -> str:
    return text.splitlines()[-1]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose training got a SIGTERM."""
    folder = make_folder(tmp_path_factory.mktemp("interrupted"))
    process = start(folder, *ENDLESS)
    process.terminate()
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (143, "")
    assert last_line(err) == (
        f"interrupted: no model was written; what was trained is in {folder}/models/{CHECKPOINT}, "
        "the same command with --resume goes on"
    )
    return folder


@pytest.fixture
def folder(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    shutil.copytree(interrupted, tmp_path / "copy")
    return tmp_path / "copy"


def test_after_a_sigterm_only_the_checkpoint_is_there(interrupted: Path) -> None:
    assert models_of(interrupted) == [CHECKPOINT]
    assert [path.name for path in (interrupted / "models" / CHECKPOINT).iterdir()] == ["checkpoint.safetensors"]


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    process = start(make_folder(tmp_path), *ENDLESS)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert last_line(err).startswith("interrupted: ")
    assert "Traceback" not in err
    assert models_of(tmp_path) == [CHECKPOINT]


def test_a_resumed_training_can_be_interrupted_again_and_makes_a_model_in_the_end(folder: Path) -> None:
    process = start(folder, "--resume")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert "--resume goes on" in last_line(err)
    done = train(folder, "--resume", "--epochs", "1")  # which were over before the interruption
    assert done.returncode == 0, done.stderr
    assert "going on after " in done.stderr
    model = Path(done.stdout.strip())
    assert models_of(folder) == [model.name]
    assert judge(model).complete
    assert read_spec(model).training_config["batches"] >= 2


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    process = start(make_folder(tmp_path), *ENDLESS, program=("-c", WRITE_OFTEN))
    process.kill()
    process.communicate(timeout=SECONDS)
    assert CHECKPOINT in models_of(tmp_path)
    done = train(tmp_path, "--resume", "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert models_of(tmp_path) == [Path(done.stdout.strip()).name]


def test_without_a_checkpoint_resume_is_one_line(tmp_path: Path) -> None:
    done = train(make_folder(tmp_path), "--resume")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path}/models/{CHECKPOINT}: there is no interrupted training to resume. Train without --resume.\n"
    )
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda folder: write_dataset(folder / "data", fleet_table(slots=130)), "slots: 360 there and 390 here"),
        (
            lambda folder: (folder / "config.yaml").write_text(CONFIG.replace("hidden_size: 8", "hidden_size: 12")),
            "training.hidden size: 8 there and 12 here",
        ),
        (
            lambda folder: (folder / "config.yaml").write_text(CONFIG.replace(", mem_used_pct]", "]")),
            "metrics: cpu_user_pct, mem_used_pct there and cpu_user_pct here",
        ),
    ],
)
def test_another_dataset_or_other_settings_are_named(folder: Path, change: object, difference: str) -> None:
    assert callable(change)
    change(folder)
    done = train(folder, "--resume")
    assert (done.returncode, done.stdout) == (1, "")
    assert last_line(done.stderr).startswith("error: the interrupted training cannot be resumed")
    assert difference in last_line(done.stderr)
    assert models_of(folder) == [CHECKPOINT]  # which a corrected command can still use


def test_a_new_training_replaces_the_checkpoint_and_says_so(folder: Path) -> None:
    done = train(folder, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert "holds an interrupted training: --resume goes on from it, this one replaces it" in done.stderr
    assert models_of(folder) == [Path(done.stdout.strip()).name]


def train_on_disk(folder: Path, *, size: str, then: str = "true") -> subprocess.CompletedProcess[str]:
    """One epoch with the models directory on a disk of its own, and a shell command that sees it afterwards."""
    (folder / "models").mkdir()
    command = " ".join([sys.executable, "-m", "nordiq_watch", *TRAIN])
    script = (
        f'mount -t tmpfs -o size={size} tmpfs models || exit 99; {command} --epochs 1; echo "exit code $?"; '
        f"ls -A models; {then.format(command=command)}"
    )
    launcher = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    if subprocess.run([*launcher, "mount -t tmpfs tmpfs /mnt"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mounts in a user namespace")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, script], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )


def test_without_room_for_anything_the_training_goes_on_and_ends_with_one_line(tmp_path: Path) -> None:
    done = train_on_disk(make_folder(tmp_path), size="16k")
    assert "exit code 1\n" in done.stdout
    warning = f"{tmp_path}/models/{CHECKPOINT}: no checkpoint (No space left on device); the training goes on without"
    assert done.stderr.count(warning) == 1
    assert last_line(done.stderr) == (
        f"error: {tmp_path}/models: no model could be written (No space left on device). "
        "There is no checkpoint either: make room, and train again."
    )
    assert "tft_model" not in done.stdout


def test_without_room_for_the_model_the_checkpoint_keeps_the_weights(interrupted: Path, tmp_path: Path) -> None:
    room = (interrupted / "models" / CHECKPOINT / "checkpoint.safetensors").stat().st_size + 40_000
    resume = 'mount -o remount,size=20m models; {command} --resume; echo "exit code $?"; ls -A models'
    done = train_on_disk(make_folder(tmp_path), size=str(room), then=resume)
    first, _, second = done.stdout.partition("exit code 1\n")
    assert first == ""
    assert second.startswith(f"{CHECKPOINT}\n")
    assert (
        f"error: {tmp_path}/models: no model could be written (No space left on device). The best weights are in "
        f"{tmp_path}/models/{CHECKPOINT}: make room, then the same command with --resume goes on.\n"
    ) in done.stderr
    assert "exit code 0\ntft_model_" in second
    assert not second.endswith(f"{CHECKPOINT}\n")
