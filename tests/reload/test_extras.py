"""Versions with extras, through a whole reload chain: served with them, or refused with the reason."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.models import drop_model_with_extras
from support.yard import SETTLE_SECONDS, Yard

from nordiq_watch.artifact.layout import CONFIG_FILE, EXTRAS_FILE, INFO_FILE, WEIGHTS_FILE

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
SHAPE = (2, 4, 3)
"""Targets, horizon, quantiles."""


def look_patiently(yard: Yard) -> None:
    yard.look()
    yard.pass_time(SETTLE_SECONDS * 3)


def test_it_goes_live_and_forecasts_with_its_extras(yard: Yard) -> None:
    yard.drop_with_extras(A, shift=0.5)
    yard.look()
    model, network = yard.model, yard.drop(B)
    forecast = model.forecast(yard.snapshot).bands
    network.rename(network.parent / f".{B}")
    values = yard.snapshot.values
    change = forecast[:, :, 0, 1] - values[:, -1]
    scale = values.std(axis=1) + 0.02 * values[:, -1] + 1e-3
    np.testing.assert_allclose(change / scale, 0.5, atol=1e-3)
    assert model.predictor.members == ("network", "linear")
    assert model.identity.extras_sha256 is not None


def test_with_a_model_of_version_1_live_before_and_after(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    assert yard.model.identity.extras_sha256 is None
    yard.drop_with_extras(B)
    yard.look()
    assert yard.live_name == B
    assert yard.live.previous() is not None


def test_other_extras_beside_the_same_network_are_another_content(yard: Yard, tmp_path: Path) -> None:
    directory = yard.drop_with_extras(A, shift=0.1)
    yard.look()
    before = yard.model
    other = drop_model_with_extras(tmp_path / "other", A, shift=0.2)
    for name in (EXTRAS_FILE, INFO_FILE):
        (other / name).rename(directory / name)
    look_patiently(yard)
    assert yard.live_name == A
    assert yard.model.identity.sha256 == before.identity.sha256
    assert yard.model.identity.extras_sha256 != before.identity.extras_sha256
    assert yard.generation == 2


def test_without_the_file_it_is_incomplete_until_it_arrives(yard: Yard) -> None:
    yard.drop(A)
    yard.look()
    directory = yard.drop_with_extras(B)
    away = (directory / EXTRAS_FILE).rename(yard.models_dir / ".extras")
    look_patiently(yard)
    assert (yard.live_name, yard.states()[B], yard.reason(B)) == (A, "incomplete", f"{EXTRAS_FILE} missing")
    away.rename(directory / EXTRAS_FILE)
    yard.look()
    assert yard.live_name == B


def cut_short(directory: Path) -> None:
    path = directory / EXTRAS_FILE
    path.write_bytes(path.read_bytes()[:-10])


def replace_by_weights(directory: Path) -> None:
    """A whole safetensors file, but of another network's tensors."""
    (directory / EXTRAS_FILE).write_bytes((directory / WEIGHTS_FILE).read_bytes())
    (directory / INFO_FILE).unlink()


def flip_a_bit(directory: Path) -> None:
    content = bytearray((directory / EXTRAS_FILE).read_bytes())
    content[-1] ^= 1
    (directory / EXTRAS_FILE).write_bytes(content)


def put_a_link(directory: Path) -> None:
    target = (directory / EXTRAS_FILE).rename(directory.parent / ".elsewhere")
    (directory / EXTRAS_FILE).symlink_to(target)


def put_a_pipe(directory: Path) -> None:
    (directory / EXTRAS_FILE).unlink()
    os.mkfifo(directory / EXTRAS_FILE)


def write_huge_header(directory: Path) -> None:
    (directory / EXTRAS_FILE).write_bytes((2**40).to_bytes(8, "little") + b"{}")


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        config = json.loads((directory / CONFIG_FILE).read_bytes())
        extras = changes.pop("extras", {})
        config |= changes
        if isinstance(extras, dict):
            config["extras"] |= extras
        (directory / CONFIG_FILE).write_text(json.dumps(config))
        (directory / INFO_FILE).unlink()

    return change


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut short": (cut_short, "extras.safetensors has"),
    "other tensors": (
        replace_by_weights,
        "does not fit config.json: 2 missing (blend, calibration)",
    ),
    "another hash": (flip_a_bit, "extras.safetensors has SHA-256"),
    "a link": (put_a_link, "extras.safetensors is a symbolic link"),
    "a pipe": (put_a_pipe, "extras.safetensors is not a regular file"),
    "a huge header": (write_huge_header, "a header length of 1,099,511,627,776 bytes"),
    "version 1": (change_config(format_version=1), "a model with extras has 2"),
    "an unknown member": (change_config(extras={"members": ["gbm"]}), "names 'gbm'"),
    "too many slots": (change_config(extras={"slots": 1000}), "extras.slots is 1000"),
    "another file": (change_config(extras={"file": "../../secret"}), "extras.file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_does_not_fit_never_goes_live_and_says_why(yard: Yard, case: str) -> None:
    yard.drop(A)
    yard.look()
    damage, says = HOSTILE[case]
    damage(yard.drop_with_extras(B))
    look_patiently(yard)
    assert yard.live_name == A
    assert says in yard.reason(B)


TENSORS = {
    "NaN": ({"linear.bias": torch.full(SHAPE, torch.nan)}, "linear.bias in extras.safetensors is not finite"),
    "a negative weight": ({"blend": torch.tensor([2.0, -1]).view(2, 1, 1).expand(2, 2, 4)}, "negative weight"),
    "weights of sum 2": ({"blend": torch.ones(2, 2, 4)}, "do not add up to 1"),
    "a median that moves": ({"calibration": torch.full(SHAPE, 2.0)}, "moves the median"),
    "another shape": ({"linear.bias": torch.zeros(2, 4)}, "linear.bias [2, 4] instead of [2, 4, 3]"),
    "one too many": ({"linear.extra": torch.zeros(1)}, "1 unexpected (linear.extra)"),
    "integers": ({"calibration": torch.ones(SHAPE, dtype=torch.int64)}, "calibration is of type I64"),
    "an absurd forecast": ({"linear.bias": torch.full(SHAPE, 1e30)}, "cpu_user_pct"),
    "an infinite forecast": ({"linear.bias": torch.full(SHAPE, 3e38)}, "not finite"),
    "no width": ({"calibration": torch.tensor([0.0, 1, 0]).expand(SHAPE)}, "has no width from p10 to p90"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_cannot_be_served_never_go_live(yard: Yard, case: str) -> None:
    yard.drop(A)
    yard.look()
    tensors, says = TENSORS[case]
    yard.drop_with_extras(B, **{name: tensor.contiguous() for name, tensor in tensors.items()})
    yard.look()
    assert yard.live_name == A
    assert says in yard.reason(B)
    assert yard.states()[B] == "rejected"


def test_short_histories_are_forecast_with_extras_too(yard: Yard) -> None:
    yard.snapshot.values[:, :6] = np.nan
    yard.drop_with_extras(A, shift=0.5)
    yard.look()
    assert np.isfinite(yard.model.forecast(yard.snapshot).bands).all()


def test_the_extras_count_in_what_the_memory_guard_asks_for(yard: Yard) -> None:
    yard.drop_with_extras(A)
    version = yard.service.statuses()[0].version
    assert version.extras_bytes == (yard.models_dir / A / EXTRAS_FILE).stat().st_size
    assert version.size_bytes > version.extras_bytes
    yard.free_bytes = int((version.size_bytes - version.extras_bytes) * 4.2 + version.extras_bytes * 1.2) - 2
    yard.look()
    assert yard.live_name is None
    yard.free_bytes += 10
    yard.pass_time(3600)
    assert yard.live_name == A
