from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from support.small_fleet import (
    METRICS,
    SERVERS,
    TINY,
    fleet_table,
    settings_for,
    silent_console,
    write_dataset,
)

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.layout import INFO_FILE, REQUIRED_FILES, WEIGHTS_FILE
from nordiq_watch.artifact.manifest import read_info, read_mapping, read_spec
from nordiq_watch.artifact.reader import read_model
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError, DatasetError, NotDropped
from nordiq_watch.network.training_library import load_training_library
from nordiq_watch.network.weights import build_network
from nordiq_watch.reload.proof import prove_written
from nordiq_watch.training import trainer
from nordiq_watch.training.order import Order
from nordiq_watch.training.trainer import TrainingRun

pytestmark = pytest.mark.slow

NOW = datetime(2025, 1, 30, 15, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


def train(dataset: Path, settings: Settings, *, epochs: int = 1, drop_anyway: bool = True, **order: Any) -> Path:
    """By default it is dropped however good it is: a few batches teach little."""
    console, _ = silent_console()
    order = {"epochs": epochs, "drop_anyway": drop_anyway, **order}
    todo = Order(dataset, settings.root / "models", **order)
    return TrainingRun(todo, settings, console=console, prove=prove_written, now=lambda: NOW).execute()


@pytest.fixture(scope="module")
def model(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(dataset, settings_for(tmp_path_factory.mktemp("model")), epochs=2)


def test_the_directory_bears_its_time_in_utc_and_is_whole(model: Path) -> None:
    assert model.name == "tft_model_20250130_143000"
    assert sorted(path.name for path in model.iterdir()) == sorted([*REQUIRED_FILES, INFO_FILE])
    verdict = judge(model)
    assert verdict.complete
    assert verdict.proven


def test_nothing_else_is_written(model: Path) -> None:
    root = model.parent.parent
    assert [path.name for path in root.iterdir()] == ["models"]
    assert [path.name for path in model.parent.iterdir()] == [model.name]


def test_its_weights_fit_the_network_that_its_config_describes(model: Path) -> None:
    files = read_model(model)
    network = build_network(files.spec.network, files.weights.tensors)
    assert all(bool(parameter.isfinite().all()) for parameter in network.parameters())


def test_the_spec_says_what_it_reads_and_how_it_was_made(model: Path) -> None:
    spec = read_spec(model)
    assert spec.targets == spec.metrics == METRICS
    assert (spec.interval_seconds, spec.max_encoder_length, spec.max_prediction_length) == (300, 12, 4)
    assert spec.min_encoder_length == 6
    assert spec.created_at == "2025-01-30T15:30:00+01:00"
    assert spec.training_config["seed"] == TINY.seed
    assert spec.training_config["epochs"] == 2
    assert spec.training_config["batches"] == 2 * 3
    assert spec.training_config["per_server"] is False
    assert spec.network.static_categoricals == ("profile",)
    normalizer = spec.target_normalizers["cpu_user_pct"]
    assert (normalizer.kind, normalizer.center_length, normalizer.scale_length) == ("encoder", 1, 12)


def test_the_info_says_how_good_it_is(model: Path) -> None:
    info = read_info(model)
    assert info is not None
    assert (info.epochs, info.servers_trained) == (2, 3)
    assert info.training_time is not None
    assert info.training_time >= 0
    assert info.validation["windows"] == 3 * 21
    assert set(info.validation["metrics"]) == set(METRICS)
    for scores in info.validation["metrics"].values():
        assert set(scores) == {"model", "last_value", "seasonal"}
        assert scores["model"]["mae"] > 0
        assert scores["model"]["pinball"] > 0
    assert set(info.sha256) == set(REQUIRED_FILES)


def test_the_mapping_numbers_the_servers(model: Path) -> None:
    mapping = read_mapping(model)
    assert mapping.name_to_id == {name: number for number, name in enumerate(SERVERS)}
    assert mapping.id_to_name == {str(number): name for number, name in enumerate(SERVERS)}
    assert (mapping.version, mapping.total_servers) == (model.name, 3)


def test_the_same_seed_gives_the_same_weights(model: Path, dataset: Path, tmp_path: Path) -> None:
    torch.rand(17)  # whatever chance was used before
    again = train(dataset, settings_for(tmp_path / "again"), epochs=2)
    assert (again / WEIGHTS_FILE).read_bytes() == (model / WEIGHTS_FILE).read_bytes()


def test_another_seed_gives_other_weights(model: Path, dataset: Path, tmp_path: Path) -> None:
    other = train(dataset, settings_for(tmp_path, training={"seed": 2}), epochs=2)
    assert (other / WEIGHTS_FILE).read_bytes() != (model / WEIGHTS_FILE).read_bytes()


def test_a_name_that_is_taken_moves_to_the_next_free_second(dataset: Path, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, training={"max_batches_per_epoch": 1})
    for second in ("00", "01"):
        (settings.models_dir / f"tft_model_20250130_1430{second}").mkdir(parents=True)
    new = train(dataset, settings)
    assert new.name == "tft_model_20250130_143002"
    assert read_mapping(new).version == new.name


def test_per_server_the_name_is_an_input(dataset: Path, tmp_path: Path) -> None:
    new = train(dataset, settings_for(tmp_path, training={"max_batches_per_epoch": 1}), per_server=True)
    spec = read_spec(new)
    assert spec.network.static_categoricals == ("profile", "server_name")
    assert spec.categorical_encoders["server_name"].classes == ("nan", *SERVERS)
    assert spec.categorical_encoders["server_name"].unknown_code == 0


def test_one_metric_and_a_status_are_enough(tmp_path: Path) -> None:
    table = fleet_table(status=True).drop(columns="mem_used_pct")
    settings = settings_for(tmp_path, training={"max_batches_per_epoch": 1})
    spec = read_spec(train(write_dataset(tmp_path / "data", table), settings))
    assert spec.targets == ("cpu_user_pct",)
    assert spec.network.time_varying_categoricals_encoder == ("status",)


class Clock:
    """Every look at it takes a second."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize("seconds", [1.0, 50.0])  # over before the first batch, and within the first epoch
def test_when_its_time_is_over_it_still_writes_a_model(dataset: Path, tmp_path: Path, seconds: float) -> None:
    console, text = silent_console()
    settings = settings_for(tmp_path, training={"max_seconds": seconds, "max_batches_per_epoch": 1000, "batch_size": 2})
    order = Order(dataset, tmp_path / "models", drop_anyway=True)
    run = TrainingRun(order, settings, console=console, prove=prove_written, clock=Clock())
    spec = read_spec(run.execute())
    assert spec.training_config["batches"] < 20
    assert (spec.training_config["epochs"], spec.training_config["max_seconds"]) == (None, seconds)
    assert "trained " in text.getvalue()


def test_a_person_reads_what_was_repaired_and_how_good_it_is(tmp_path: Path) -> None:
    table = fleet_table()
    table.loc[3, "cpu_user_pct"] = 104.0
    console, text = silent_console()
    settings = settings_for(tmp_path, training={"max_batches_per_epoch": 1})
    order = Order(write_dataset(tmp_path / "data", table), settings.models_dir, epochs=1, drop_anyway=True)
    TrainingRun(order, settings, console=console, prove=prove_written).execute()
    said = text.getvalue()
    assert f"{tmp_path / 'data'}: 3 servers, 360 slots, cpu_user_pct, mem_used_pct\n" in said
    assert "  cpu_user_pct: 1 value of 100 to 110 % kept as 100\n" in said
    assert "training for 1 epoch at most" in said
    assert ("cpu native-" if load_training_library() else "cpu torch") in said
    assert "validation windows" in said


def test_servers_with_too_little_data_are_counted(tmp_path: Path) -> None:
    table = pd.concat([fleet_table(), fleet_table(servers=["young"], slots=9)], ignore_index=True)
    console, text = silent_console()
    settings = settings_for(tmp_path, training={"max_batches_per_epoch": 1})
    order = Order(write_dataset(tmp_path / "data", table), settings.models_dir, epochs=1, drop_anyway=True)
    info = read_info(TrainingRun(order, settings, console=console, prove=prove_written).execute())
    assert info is not None
    assert info.servers_trained == 3
    assert "  1 server without an unbroken series that is long enough: not trained on\n" in text.getvalue()


def test_an_interrupted_training_leaves_nothing_behind(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupt(Callback):
        def __init__(self, *_: Any) -> None:
            pass

        def on_train_batch_end(self, *_: Any) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "ProgressReport", Interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, settings_for(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_that_cannot_be_used_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        train(tmp_path / "nowhere", settings_for(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_hold_models_is_refused_before_any_work(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    settings.models_dir.touch()
    with pytest.raises(ConfigError, match=r"models is a file, models need a directory\. Name another"):
        train(tmp_path / "nowhere", settings)


def test_a_place_without_permission_is_refused_before_any_work(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="locked: no permission to write models there"):
        train(tmp_path / "nowhere", settings_for(tmp_path / "locked"))


@pytest.mark.slow
def test_the_google_fleet_can_be_trained_on(google_fleet: Path, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, training={"max_encoder_length": 24, "max_batches_per_epoch": 5})
    spec = read_spec(train(google_fleet, settings, per_server=True))
    assert len(spec.categorical_encoders["server_name"].classes) == 61
    info = read_info(settings.models_dir / "tft_model_20250130_143000")
    assert info is not None
    assert info.servers_trained == 60
    assert info.validation["windows"] == 2000
    memory = info.validation["metrics"]["mem_used_pct"]
    assert memory["last_value"]["mae"] < memory["seasonal"]["mae"]


def test_the_info_compares_it_with_last_value_and_the_newest_version(dataset: Path, tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = train(dataset, settings)
    second = read_info(train(dataset, settings, epochs=2))
    assert second is not None
    assert second.comparison is not None
    assert second.comparison.windows == second.validation["windows"]
    assert second.comparison.newest == first.name
    assert second.comparison.newest_skipped is None
    before = read_info(first)
    assert before is not None
    assert before.comparison is not None
    assert before.comparison.newest is None
    for metric, errors in second.comparison.targets.items():
        assert errors.model == pytest.approx(second.validation["metrics"][metric]["model"]["mae"], rel=1e-4)
        assert errors.last_value == pytest.approx(second.validation["metrics"][metric]["last_value"]["mae"], rel=1e-6)
        assert errors.newest == pytest.approx(before.comparison.targets[metric].model, rel=1e-6)


def test_a_model_that_is_worse_than_last_value_is_kept_but_not_dropped(dataset: Path, tmp_path: Path) -> None:
    bad = settings_for(tmp_path, training={"learning_rate": 0.9, "max_batches_per_epoch": 10})
    with pytest.raises(NotDropped) as caught:
        train(dataset, bad, drop_anyway=False)
    (kept,) = bad.models_dir.iterdir()
    assert kept.name == ".refused_tft_model_20250130_143000"
    assert judge(kept).proven
    info = read_info(kept)
    assert info is not None
    assert info.comparison is not None
    assert not info.comparison.passed
    assert f"{info.comparison.beside_last_value:.3f} times last value's, at most 1.02" in str(caught.value)
    assert f"It stays in {kept}, not dropped" in str(caught.value)
    kept.rename(bad.models_dir / "tft_model_20250130_143000")  # a person may overrule the gate
    assert read_model(bad.models_dir / "tft_model_20250130_143000").mapping.version == "tft_model_20250130_143000"


def test_drop_anyway_drops_it_with_its_figures(dataset: Path, tmp_path: Path) -> None:
    bad = settings_for(tmp_path, training={"learning_rate": 0.9, "max_batches_per_epoch": 10})
    info = read_info(train(dataset, bad, drop_anyway=True))
    assert info is not None
    assert info.comparison is not None
    assert not info.comparison.passed
