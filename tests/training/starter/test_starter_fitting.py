"""The starter is made from its seed alone, and learns what its series have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from nordiq_watch.network.starter.artefact import CONFIG_FILE, WEIGHTS_FILE, shipped_starter, write_starter
from nordiq_watch.training.starter import fitting
from nordiq_watch.training.starter.fitting import Effort, fit_starter
from nordiq_watch.training.starter.processes import make_series

SMALL = Effort(series=200, windows=2, batches=60, batch_size=128, rate=0.02)


def test_series_are_possible_loads_of_unlike_level_and_roughness() -> None:
    made = make_series(np.random.default_rng(1), series=400, slots=300)
    assert np.isfinite(made).all()
    assert made.min() >= 0
    levels = np.median(made, axis=1)
    assert np.percentile(levels, 90) > 10 * np.percentile(levels, 10)
    roughness = np.abs(np.diff(made, axis=1)).mean(axis=1) / (made.std(axis=1) + 1e-6)
    assert np.percentile(roughness, 90) > 4 * np.percentile(roughness, 10)


@pytest.fixture
def two_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "LENGTHS", (8, 16))


@pytest.mark.usefixtures("two_lengths")
def test_the_same_seed_makes_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    contents = []
    for run, seed in enumerate((1, 1, 2)):
        directory = tmp_path / str(run)
        write_starter(fit_starter(replace(SMALL, seed=seed)), directory, made_by="a test")
        contents.append((directory / WEIGHTS_FILE).read_bytes())
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.usefixtures("two_lengths")
def test_it_says_that_noise_returns_to_its_mean() -> None:
    starter = fit_starter(Effort(series=2000, windows=2, batches=300, batch_size=256, rate=0.01))
    chance = np.random.default_rng(3)
    past = (40 + 5 * chance.normal(size=(200, 16, 1))).astype(np.float32)
    made = starter.quantiles(past, np.ones((200, 1), dtype=np.bool_), steps=8, levels=(0.1, 0.5, 0.9))[:, 0]
    ahead = 40 + 5 * chance.normal(size=(200, 8))
    assert np.abs(ahead - made[..., 1]).mean() < 0.9 * np.abs(ahead - past[:, -1]).mean()
    inside = ((made[..., 0] <= ahead) & (ahead <= made[..., 2])).mean()
    assert 0.65 < inside < 0.95


def test_the_shipped_one_names_the_command_that_makes_it() -> None:
    config = msgspec.json.decode(shipped_starter().joinpath(CONFIG_FILE).read_bytes())
    assert config["made_by"] == f"python -m nordiq_watch.training.starter --seed {Effort().seed}"
