"""The real trainer and the real daemon on a GPU, beside the same in host memory: training, forecasts, swaps, and a
version for which the GPU has no room.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import yaml
from support.daemon import DaemonProcess, clean_environment, wait_until
from support.gpu import DEVICES, needs_a_gpu
from support.models import ENCODER, HORIZON, METRICS, drop_model, tiny_spec
from support.small_fleet import write_dataset

from nordiq_watch.spec import ModelSpec

pytestmark = pytest.mark.slow

FIRST, SECOND = "tft_model_20250101_000000", "tft_model_20250102_000000"
SERVERS = tuple(f"ppdb{number:03d}" for number in range(40))
INTERVAL_SECONDS = 300
UNLOAD_FIRST = {"policy": "unload_first"}
ROUNDING = 1e-3
"""Answers have four decimals, and a GPU adds in another order."""

MB = 1_000_000
TRAINING = {
    "hidden_size": 8,
    "attention_heads": 2,
    "max_encoder_length": ENCODER,
    "max_prediction_length": HORIZON,
    "batch_size": 16,
    "max_batches_per_epoch": 3,
}


@contextmanager
def serving(root: Path, device: str, **reload: Any) -> Iterator[DaemonProcess]:
    """A daemon on that device with a warm window."""
    settings: dict[str, Any] = {"device": device, "watch": {"settle_seconds": 0.2}, "reload": reload}
    with DaemonProcess(root, metrics=METRICS, **settings) as daemon:
        daemon.feed(warm_records())
        yield daemon


def warm_records() -> Iterator[dict[str, Any]]:
    """Every server's whole encoder, up to the present slot; the same values at each call."""
    present = int(time.time()) // INTERVAL_SECONDS
    steps = np.random.default_rng(0).normal(size=(len(SERVERS), ENCODER, len(METRICS)))
    for name, history in zip(SERVERS, (40 + steps.cumsum(axis=1)).clip(1, 99), strict=True):
        for slot, sample in enumerate(history, start=present - ENCODER + 1):
            measured = dict(zip(METRICS, sample.tolist(), strict=True))
            yield {"timestamp": slot * INTERVAL_SECONDS, "server_name": name, **measured}


def forecasts_by(daemon: DaemonProcess, version: str) -> np.ndarray:
    """(servers, metrics, quantiles, steps), once that version answers for all servers."""

    def answer() -> Mapping[str, Any] | None:
        response = daemon.request("GET", "/predictions/current")
        body = response.json()
        found = response.headers.get("X-Model-Version") == version and len(body.get("predictions", ())) == len(SERVERS)
        return body["predictions"] if found else None

    made = wait_until(answer, what=f"forecasts by {version}")
    return np.array(
        [[[made[name][metric][q] for q in ("p10", "p50", "p90")] for metric in METRICS] for name in SERVERS]
    )


def where(info: Mapping[str, Any]) -> str:
    """The device that a live model computes on: graphs are a GPU's."""
    return "cuda" if info["compute"] == "folded-graph" else "cpu"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reload", [{}, UNLOAD_FIRST], ids=["auto", "unload_first"])
def test_a_drop_goes_live_and_says_the_same_wherever_it_is(tmp_path: Path, device: str, reload: dict[str, str]) -> None:
    for root in (tmp_path / "here", tmp_path / "host"):
        drop_model(root / "models", FIRST, band=1.0)
    with serving(tmp_path / "here", device, **reload) as here, serving(tmp_path / "host", "cpu") as host:
        for version in (FIRST, SECOND):
            if version == SECOND:
                for daemon in (here, host):
                    drop_model(daemon.models, SECOND, band=2.0)
            assert where(here.wait_for_live(version)) == device
            np.testing.assert_allclose(forecasts_by(here, version), forecasts_by(host, version), atol=ROUNDING)
        assert where(here.model_info()) == device


@pytest.mark.parametrize("device", DEVICES)
def test_what_is_trained_there_is_served_there(tmp_path: Path, device: str) -> None:
    write_dataset(tmp_path / "data")
    settings = {"metrics": list(METRICS), "device": device, "training": TRAINING}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "nordiq_watch", "train", "--dataset", "data", "--config", "train.yaml"]
    done = subprocess.run(
        [*command, "--epochs", "2", "--drop-anyway"],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{device} " in done.stderr
    with serving(tmp_path, device) as daemon:
        assert where(daemon.wait_for_live(Path(done.stdout.strip()).name)) == device


def spec_of_megabytes(megabytes: int) -> ModelSpec:
    """A network whose weights take at least so much."""
    spec = tiny_spec()
    size = 256
    while 40 * size * size < megabytes * MB:  # bytes of its square matrices alone, float32: more than ten of them
        size += 256
    return msgspec.structs.replace(spec, network=msgspec.structs.replace(spec.network, hidden_size=size))


@needs_a_gpu
@pytest.mark.parametrize("reload", [{}, UNLOAD_FIRST], ids=["auto", "unload_first"])
def test_a_version_for_which_the_gpu_has_no_room_waits_and_the_live_one_answers(
    tmp_path: Path, reload: dict[str, str]
) -> None:
    drop_model(tmp_path / "models", FIRST, band=1.0)
    with serving(tmp_path, "cuda", **reload) as daemon:
        expected = forecasts_by(daemon, FIRST)
        free = torch.cuda.mem_get_info()[0]
        taken = torch.empty(free - 200 * MB, dtype=torch.uint8, device="cuda")  # by another process: this one
        drop_model(daemon.models, SECOND, spec=spec_of_megabytes(600))
        reason = wait_until(lambda: reason_to_wait(daemon), what=f"{SECOND} to be found too large")
        assert "memory" in reason
        np.testing.assert_allclose(forecasts_by(daemon, FIRST), expected, atol=ROUNDING)
        del taken
        torch.cuda.empty_cache()
        assert where(daemon.wait_for_live(SECOND)) == "cuda"


def reason_to_wait(daemon: DaemonProcess) -> str:
    state, reason = daemon.state_of(SECOND)
    assert state != "live"
    return reason
