"""Two small models, trained once per run by the real command on the real dataset, for all end-to-end tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.daemon import clean_environment
from support.fleet import GOOGLE_FLEET, METRICS
from support.once import make_once
from support.trained_models import TrainedModels

from nordiq_watch.config.load import load_settings

ENCODER, HORIZON = 36, 12
CONFIG, TRAINED = "config.yaml", "trained.json"
TRAINING = {
    "hidden_size": 8,
    "attention_heads": 2,
    "max_encoder_length": ENCODER,
    "max_prediction_length": HORIZON,
    "batch_size": 32,
    "max_batches_per_epoch": 25,
}


@pytest.fixture(scope="session")
def trained_models(tmp_path_factory: pytest.TempPathFactory) -> TrainedModels:
    if not GOOGLE_FLEET.is_dir():
        pytest.skip(f"the real dataset is not there: {GOOGLE_FLEET}")
    root = make_once(tmp_path_factory, "trained-models", _train_two)
    names, reports = json.loads((root / TRAINED).read_text())
    return TrainedModels([root / name for name in names], reports, load_settings(root / CONFIG, {}))


def _train_two(root: Path) -> None:
    """The second one goes on from the first."""
    config_file = root / CONFIG
    sections = {"metrics": list(METRICS), "window": {"length": ENCODER}, "training": TRAINING}
    config_file.write_text(yaml.safe_dump(sections))
    trained = [_train(config_file), _train(config_file, "--incremental")]
    names = [str(directory.relative_to(root)) for directory, _ in trained]
    (root / TRAINED).write_text(json.dumps([names, [report for _, report in trained]]))


def _train(config_file: Path, *options: str) -> tuple[Path, str]:
    """The new directory, which is the last line on stdout, and the report beside it."""
    options = ("--max-minutes", "0.5", "--drop-anyway", *options)  # enough to see that it works, not to teach much
    arguments = ["train", "--dataset", str(GOOGLE_FLEET), "--epochs", "1", "--config", str(config_file), *options]
    done = subprocess.run(
        [sys.executable, "-m", "nordiq_watch", *arguments],
        env=clean_environment(),
        cwd=config_file.parent,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1]), done.stderr
