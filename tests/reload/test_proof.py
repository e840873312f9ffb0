from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from support.models import ENCODER, METRICS, drop_model, drop_model_with_extras, tiny_spec

from nordiq_watch.api.enums import Check
from nordiq_watch.config.schema import Config, WindowSettings
from nordiq_watch.errors import ModelRejected
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.named_version import version_at
from nordiq_watch.reload.proof import prove_version, prove_written
from nordiq_watch.spec import CategoricalEncoder

NAME = "tft_model_20250130_143000"
CONFIG = Config(metrics=METRICS, window=WindowSettings(length=ENCODER))


def window(servers: Sequence[str] = ("ppdb001", "ppml001", "ppweb001")) -> WindowSnapshot:
    values = np.random.default_rng(0).uniform(20, 60, (len(servers), ENCODER, len(METRICS))).astype(np.float32)
    return WindowSnapshot(
        servers=tuple(servers),
        profiles=("Generic",) * len(servers),
        metrics=METRICS,
        interval_seconds=300,
        last_slot=1000,
        values=values,
        statuses=np.zeros(values.shape[:2], dtype=np.uint8),
    )


def test_a_sound_directory_passes_whatever_its_name(tmp_path: Path) -> None:
    directory = drop_model(tmp_path, NAME).rename(tmp_path / ".hidden")
    prove_written(directory, [window()], config=CONFIG, finite_only=False)


@pytest.mark.parametrize("finite_only", [False, True])
def test_a_forecast_that_is_not_finite_is_refused(tmp_path: Path, finite_only: bool) -> None:
    """Each number of the weights is finite, but what they make of a window is not."""
    directory = drop_model(tmp_path, NAME, shift=3e38, hashes=False)
    with pytest.raises(ModelRejected, match="not finite for 3 of 3 servers") as refused:
        prove_written(directory, [window()], config=CONFIG, finite_only=finite_only)
    assert refused.value.check is Check.CANARY


def test_an_impossible_forecast_is_refused_unless_only_finite_ones_are_asked_for(tmp_path: Path) -> None:
    directory = drop_model(tmp_path, NAME, shift=1e6)
    with pytest.raises(ModelRejected, match="is allowed"):
        prove_written(directory, [window()], config=CONFIG, finite_only=False)
    prove_written(directory, [window()], config=CONFIG, finite_only=True)


def test_each_window_is_tried(tmp_path: Path) -> None:
    directory = drop_model(tmp_path, NAME, shift=1e6)
    prove_written(directory, [], config=CONFIG, finite_only=False)
    with pytest.raises(ModelRejected):
        prove_written(directory, [window(), window(["ppdb001"])], config=CONFIG, finite_only=False)


def test_a_number_that_no_forecast_of_these_windows_reads_is_named(tmp_path: Path) -> None:
    """The embedding of a profile that no server of the windows has."""
    spec = tiny_spec(
        categorical_encoders={"profile": CategoricalEncoder(classes=("nan", "Database", "Generic"), unknown_code=0)}
    )
    network = replace(
        spec.network,
        embedding_sizes={"profile": (3, 2)},
        static_categoricals=("profile",),
        x_categoricals=("profile",),
    )
    directory = drop_model(tmp_path, NAME, hashes=False, spec=replace(spec, network=network))
    prove_written(directory, [window()], config=CONFIG, finite_only=True)
    weights = load_file(directory / "model.safetensors")
    (name,) = [name for name in weights if name.startswith("input_embeddings.")]
    weights[name][1, 0] = torch.nan
    save_file(weights, directory / "model.safetensors")
    for check in (
        lambda: prove_written(directory, [window()], config=CONFIG, finite_only=True),
        lambda: prove_version(version_at(directory), None),
    ):
        with pytest.raises(ModelRejected, match=f"{re.escape(name)} in model.safetensors is not finite") as refused:
            check()
        assert refused.value.check is Check.WEIGHTS


def test_a_number_of_the_extras_is_named(tmp_path: Path) -> None:
    directory = drop_model_with_extras(tmp_path, NAME, calibration=torch.full((2, 4, 3), torch.nan))
    with pytest.raises(ModelRejected, match=r"calibration in extras\.safetensors is not finite"):
        prove_written(directory, [window()], config=CONFIG, finite_only=True)


def test_what_the_daemon_needs_is_held_against_it(tmp_path: Path) -> None:
    config = Config(metrics=METRICS, window=WindowSettings(interval_seconds=60, length=ENCODER))
    with pytest.raises(ModelRejected, match="its interval_seconds is 300, the window's is 60"):
        prove_written(drop_model(tmp_path, NAME), [window()], config=config, finite_only=True)


def test_changed_bytes_do_not_match_their_hash(tmp_path: Path) -> None:
    directory = drop_model(tmp_path, NAME)
    content = bytearray((directory / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelRejected) as refused:
        prove_written(directory, [window()], config=CONFIG, finite_only=True)
    assert refused.value.check is Check.SHA256
