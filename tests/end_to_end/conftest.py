"""Two small models, trained once by the real command on the real dataset, for all end-to-end tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.daemon import clean_environment
from support.fleet import GOOGLE_FLEET, METRICS

from nordiq_watch.config import Settings, load_settings

ENCODER, HORIZON = 36, 12
TRAINING = {
    "hidden_size": 8,
    "attention_heads": 2,
    "max_encoder_length": ENCODER,
    "max_prediction_length": HORIZON,
    "batch_size": 32,
    "max_batches_per_epoch": 25,
}


@dataclass(frozen=True)
class TrainedModels:
    """directories: oldest first, in a directory that no daemon watches. reports: what `train` told of each."""

    directories: Sequence[Path]
    reports: Sequence[str]
    settings: Settings


@pytest.fixture(scope="session")
def trained_models(tmp_path_factory: pytest.TempPathFactory) -> TrainedModels:
    if not GOOGLE_FLEET.is_dir():
        pytest.skip(f"the real dataset is not there: {GOOGLE_FLEET}")
    root = tmp_path_factory.mktemp("training")
    config_file = root / "config.yaml"
    config_file.write_text(yaml.safe_dump({"metrics": list(METRICS), "training": TRAINING}))
    trained = [_train(config_file), _train(config_file, "--incremental")]
    directories, reports = zip(*trained, strict=True)
    return TrainedModels(directories, reports, load_settings(config_file, {}))


def _train(config_file: Path, *options: str) -> tuple[Path, str]:
    """The new directory, which is the last line on stdout, and the report beside it."""
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
