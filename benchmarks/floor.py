"""The least that loading a model can take: read its file, hash the bytes, forecast once. Nothing is found, checked or
published. In a fresh process; imports, torch's own start and building the network are not counted. The forecast is the
faster one of one thread and of all cores: on a busy machine torch's threads wait for each other.

python floor.py MODEL_DIR DEVICE → {"read": seconds, "hash": seconds, "forward": seconds}
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import torch
from common import cores
from subjects import fleet_snapshot
from support.models import tiny_spec

from nordiq_watch.artifact.layout import WEIGHTS_FILE
from nordiq_watch.artifact.manifest import read_spec
from nordiq_watch.artifact.weights_file import read_weights
from nordiq_watch.network.predictor import Predictor
from nordiq_watch.network.tft import TemporalFusionTransformer
from nordiq_watch.records.models import RawTensor
from nordiq_watch.spec import ModelSpec

REST_SECONDS = 3.0
"""A virtual machine gives memory that was freed back to its host after a while, and needs half a second a model to get
it again. A reload meets memory that has rested; what the process before this one has just freed would come cheaper."""


def measure_floor(directory: Path, device: str) -> dict[str, float]:
    started = time.monotonic()
    content = (directory / WEIGHTS_FILE).read_bytes()
    was_read = time.monotonic()
    hashlib.sha256(content).digest()
    hashed = time.monotonic()
    del content
    model = Predictor(read_spec(directory), read_weights(directory / WEIGHTS_FILE).tensors, device=device)
    forward = min(time_forward(model, threads) for threads in (cores(), 1))
    return {"read": was_read - started, "hash": hashed - was_read, "forward": forward}


def time_forward(model: Predictor, threads: int) -> float:
    torch.set_num_threads(threads)
    snapshot = fleet_snapshot()
    started = time.monotonic()
    model.predict(snapshot)
    return time.monotonic() - started


def warm_up(spec: ModelSpec, device: str) -> None:
    """A forward of a network that is too small to matter: torch starts its threads and loads its kernels here."""
    tensors = {
        name: RawTensor("F32", tuple(tensor.shape), memoryview(bytearray(tensor.nbytes)))
        for name, tensor in TemporalFusionTransformer(spec.network).state_dict().items()
    }
    Predictor(spec, tensors, device=device).predict(fleet_snapshot())


if __name__ == "__main__":
    directory, device = sys.argv[1:]
    warm_up(tiny_spec(), device)
    time.sleep(REST_SECONDS)
    sys.stdout.write(json.dumps(measure_floor(Path(directory), device)))
