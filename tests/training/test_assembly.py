"""A training with all members, from a dataset to a directory that the daemon loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.small_fleet import fleet_table, settings_for, silent_console

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.manifest import read_info, read_spec
from nordiq_watch.reload.proof import prove_written
from nordiq_watch.training.order import Order
from nordiq_watch.training.trainer import TrainingRun

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dataset")
    fleet_table(slots=400).to_parquet(directory / "metrics.parquet")
    return directory


def train(dataset: Path, root: Path, members: tuple[str, ...]) -> Path:
    settings = settings_for(root, training={"members": members})
    order = Order(dataset, settings.models_dir, epochs=1, drop_anyway=True)
    return TrainingRun(order, settings, console=silent_console()[0], prove=prove_written).execute()


@pytest.fixture(scope="module")
def version(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(dataset, tmp_path_factory.mktemp("whole"), ("linear", "rows"))


def test_the_directory_is_whole_and_names_its_members(version: Path) -> None:
    assert judge(version).complete
    assert judge(version).proven
    spec = read_spec(version)
    assert spec.format_version == 2
    assert spec.extras is not None
    assert spec.extras.members == ("linear", "rows")
    assert spec.extras.calibrated


def test_validation_is_that_of_the_whole_forecast(version: Path, dataset: Path, tmp_path: Path) -> None:
    """The network saw three batches, the members all of the data: together they are better."""
    whole, alone = read_info(version), read_info(train(dataset, tmp_path, ()))
    assert whole is not None
    assert alone is not None
    assert whole.comparison is not None
    assert alone.comparison is not None
    assert whole.comparison.beside_last_value is not None
    assert alone.comparison.beside_last_value is not None
    assert whole.comparison.beside_last_value < alone.comparison.beside_last_value
    errors = [info.validation["metrics"]["cpu_user_pct"]["model"]["mae"] for info in (whole, alone)]
    assert errors[0] < 0.7 * errors[1]  # memory is a random walk, of which nothing can be known


def test_the_same_seed_gives_the_same_extras(version: Path, dataset: Path, tmp_path: Path) -> None:
    again = load_file(train(dataset, tmp_path, ("linear", "rows")) / "extras.safetensors")
    first = load_file(version / "extras.safetensors")
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_the_weights_sum_to_one(version: Path) -> None:
    blend = load_file(version / "extras.safetensors")["blend"].numpy()
    np.testing.assert_allclose(blend.sum(axis=0), 1, atol=1e-5)
    assert (blend >= 0).all()
