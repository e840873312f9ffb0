"""The whole circle without a file of anybody else: feed the daemon, train on what it kept, see that version answer."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, clean_environment, wait_until

from nordiq_watch.cli.synthetic import METRICS, make_fleet
from nordiq_watch.storage.sample_reader import read_samples

pytestmark = pytest.mark.slow

SLOTS, ENCODER, HORIZON = 200, 36, 12
SECTIONS: dict[str, Any] = {
    "window": {"length": 288},
    "watch": {"settle_seconds": 0.2},
    "reload": {"canary": {"max_crossed_share": 1.0}},  # a few batches do not teach a network to order its quantiles
    "training": {
        "hidden_size": 8,
        "attention_heads": 2,
        "max_encoder_length": ENCODER,
        "max_prediction_length": HORIZON,
        "batch_size": 32,
        "max_batches_per_epoch": 20,
    },
}


def archived(daemon: DaemonProcess) -> int:
    """Samples that training would read."""
    days = (daemon.root / "state" / "archive").glob("*.sqlite3")
    return sum(len(batch.rows) for day in days for _, batch in read_samples(day, metrics=METRICS))


def train(daemon: DaemonProcess) -> Path:
    command = ["train", "--dataset", str(daemon.root / "state" / "archive"), "--epochs", "1", "--drop-anyway"]
    done = subprocess.run(
        [sys.executable, "-m", "nordiq_watch", *command, "--config", str(daemon.config_file)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.splitlines()[-1])


def test_what_was_fed_is_trained_on_and_the_new_version_answers(tmp_path: Path) -> None:
    fleet = list(chain.from_iterable(make_fleet(time.time(), days=1).records(newest=SLOTS)))
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        assert daemon.feed(fleet)["window_size"] == len(fleet)
        wait_until(lambda: archived(daemon) == len(fleet), what="all that was fed to be in the archive")
        made = train(daemon)
        assert daemon.wait_for_live(made.name)["mode"] == "tft"
        wait_until(lambda: daemon.predictions()["predictions"], what="its forecast")
        answer = daemon.predictions()
        assert answer["metadata"]["model_version"] == made.name
        assert set(answer["predictions"]) == {record["server_name"] for record in fleet}
        assert all(len(server["cpu_user_pct"]["p50"]) == HORIZON for server in answer["predictions"].values())
