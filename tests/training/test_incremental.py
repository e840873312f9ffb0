from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.extras import random_extras, with_extras
from support.small_fleet import fleet_table, settings_for, silent_console, write_dataset

from nordiq_watch.artifact.layout import CONFIG_FILE, EXTRAS_FILE, INFO_FILE, WEIGHTS_FILE
from nordiq_watch.artifact.manifest import encode, read_mapping, read_spec
from nordiq_watch.config.settings import Settings
from nordiq_watch.config.training import CalendarSettings
from nordiq_watch.errors import DatasetError
from nordiq_watch.reload.proof import prove_written
from nordiq_watch.training.incremental import find_newest
from nordiq_watch.training.order import Order
from nordiq_watch.training.trainer import TrainingRun

pytestmark = pytest.mark.slow

STANDING_STILL = {"learning_rate": 1e-12, "max_batches_per_epoch": 1}
EMBEDDING = "input_embeddings.embeddings.{}.weight"


def train(
    settings: Settings, dataset: Path, *, per_server: bool = False, incremental: bool = False
) -> tuple[Path, str]:
    console, text = silent_console()
    order = Order(
        dataset, settings.root / "models", epochs=1, per_server=per_server, incremental=incremental, drop_anyway=True
    )
    return TrainingRun(order, settings, console=console, prove=prove_written).execute(), text.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset in data/ and one per-server model in models/."""
    root = tmp_path_factory.mktemp("trained")
    write_dataset(root / "data")
    train(settings_for(root), root / "data", per_server=True)
    return root


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    """A copy of it to work on."""
    return Path(shutil.copytree(trained, tmp_path / "root"))


def only_model(root: Path) -> Path:
    (model,) = (root / "models").iterdir()
    return model


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / WEIGHTS_FILE)


def test_it_begins_with_the_old_weights(root: Path) -> None:
    old = only_model(root)
    new, said = train(settings_for(root, training=STANDING_STILL), root / "data", per_server=True, incremental=True)
    assert f"going on from {old.name}\n" in said
    before, after = weights_of(old), weights_of(new)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)


def test_it_begins_with_the_network_of_a_model_with_extras(root: Path) -> None:
    old = only_model(root)
    spec = with_extras(read_spec(old))
    (old / CONFIG_FILE).write_bytes(encode(spec))
    save_file(random_extras(spec), old / EXTRAS_FILE)
    (old / INFO_FILE).unlink()
    new, said = train(settings_for(root, training=STANDING_STILL), root / "data", per_server=True, incremental=True)
    assert f"going on from {old.name}\n" in said
    before, after = weights_of(old), weights_of(new)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_without_it_another_seed_begins_elsewhere(root: Path) -> None:
    old = only_model(root)
    settings = settings_for(root, training=STANDING_STILL | {"seed": 2})
    new, _ = train(settings, root / "data", per_server=True)
    assert not torch.allclose(
        weights_of(new)["lstm_encoder.weight_ih_l0"], weights_of(old)["lstm_encoder.weight_ih_l0"]
    )


def test_new_servers_and_profiles_begin_as_unknown_ones(root: Path) -> None:
    old = only_model(root)
    dataset = write_dataset(root / "more", fleet_table(servers=["aa", "ppdb002", "ppml001"]))
    new, _ = train(settings_for(root, training=STANDING_STILL), dataset, per_server=True, incremental=True)
    before, after = read_spec(old), read_spec(new)
    servers = after.categorical_encoders["server_name"].classes
    assert servers == ("nan", "ppdb001", "ppdb002", "ppweb001", "aa", "ppml001")
    assert after.categorical_encoders["profile"].classes == ("nan", "Database", "Web API", "Generic", "ML Compute")
    for name, known in (("server_name", 4), ("profile", 3)):
        rows = weights_of(new)[EMBEDDING.format(name)]
        torch.testing.assert_close(rows[:known], weights_of(old)[EMBEDDING.format(name)], rtol=0, atol=1e-6)
        torch.testing.assert_close(rows[known:], rows[:1].expand(2, -1), rtol=0, atol=1e-6)
    assert after.real_scalers == before.real_scalers
    assert after.training_config["incremental_from"] == old.name


def test_servers_keep_their_numbers(root: Path) -> None:
    dataset = write_dataset(root / "more", fleet_table(servers=["aa", "ppdb002"]))
    new, _ = train(settings_for(root, training=STANDING_STILL), dataset, per_server=True, incremental=True)
    assert read_mapping(new).name_to_id == {"ppdb001": 0, "ppdb002": 1, "ppweb001": 2, "aa": 3}


def test_with_no_model_yet_it_says_so_and_starts_afresh(root: Path) -> None:
    shutil.rmtree(root / "models")
    new, said = train(settings_for(root, training=STANDING_STILL), root / "data", incremental=True)
    assert f"no model in {root / 'models'} to go on from: starting afresh\n" in said
    assert read_spec(new).training_config["incremental_from"] is None


@pytest.mark.parametrize(
    ("training", "per_server", "difference"),
    [
        ({"max_encoder_length": 10}, True, "max_encoder_length is 12 there and 10 here"),
        ({"max_prediction_length": 3}, True, "max_prediction_length is 4 there and 3 here"),
        ({"hidden_size": 16}, True, "hidden_size is 8 there and 16 here"),
        ({"calendar": CalendarSettings(zone="Asia/Tokyo")}, True, "calendar.zone is UTC there and Asia/Tokyo here"),
        ({"attention_heads": 4}, True, "attention_head_size is 2 there and 4 here"),
        ({}, False, "static_categoricals is [profile, server_name] there and [profile] here"),
    ],
)
def test_another_network_is_refused_and_the_difference_named(
    root: Path, training: dict[str, Any], per_server: bool, difference: str
) -> None:
    old = only_model(root)
    with pytest.raises(DatasetError) as caught:
        train(settings_for(root, training=training), root / "data", per_server=per_server, incremental=True)
    assert str(caught.value).startswith(f"{old.name} cannot be trained on: ")
    assert difference in str(caught.value)
    assert only_model(root) == old


def test_other_targets_are_refused_in_one_short_line(root: Path) -> None:
    settings = settings_for(root, metrics=["mem_used_pct"])
    with pytest.raises(DatasetError) as caught:
        train(settings, root / "data", per_server=True, incremental=True)
    assert "targets is [cpu_user_pct, mem_used_pct] there and [mem_used_pct] here" in str(caught.value)
    assert "network" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_status_that_the_old_model_does_not_know_is_a_difference(root: Path) -> None:
    dataset = write_dataset(root / "more", fleet_table(status=True))
    with pytest.raises(DatasetError, match=r"time_varying_categoricals_encoder is \[\] there and \[status\] here"):
        train(settings_for(root), dataset, per_server=True, incremental=True)


def test_a_model_without_a_class_for_the_unknown_is_refused(root: Path) -> None:
    spec = read_spec(only_model(root))
    encoders = spec.categorical_encoders
    encoders["profile"] = msgspec.structs.replace(encoders["profile"], unknown_code=None)
    (only_model(root) / CONFIG_FILE).write_bytes(msgspec.json.encode(spec))
    (only_model(root) / "training_info.json").unlink()  # its hashes are those of the old file
    with pytest.raises(DatasetError, match="the class for an unknown profile is None there and 0 here"):
        train(settings_for(root), root / "data", per_server=True, incremental=True)


def test_the_latest_whole_model_is_taken_and_newer_ones_are_named_with_a_reason(root: Path) -> None:
    models, good = root / "models", only_model(root)
    for name in ("tft_model_20990101_000000", "tft_model_20990101_000001", "tft_model_20990101_000002"):
        shutil.copytree(good, models / name)
    (models / "tft_model_20990101_000000" / WEIGHTS_FILE).unlink()
    (models / "tft_model_20990101_000001" / CONFIG_FILE).write_text("{}")
    other = msgspec.json.decode((models / "tft_model_20990101_000002" / CONFIG_FILE).read_bytes())
    other["network"]["hidden_size"] = 16
    (models / "tft_model_20990101_000002" / CONFIG_FILE).write_bytes(msgspec.json.encode(other))
    (models / "tft_model_20990101_000002" / "training_info.json").unlink()
    said: list[str] = []
    newest = find_newest(models, said.append)
    assert newest is not None
    assert newest.name == good.name
    assert [line.split(":")[0] for line in said] == [
        "tft_model_20990101_000002",
        "tft_model_20990101_000001",
        "tft_model_20990101_000000",
    ]
    assert "model.safetensors missing" in said[2]


def test_weights_that_are_not_the_hashed_ones_are_not_taken(root: Path) -> None:
    path = only_model(root) / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said: list[str] = []
    assert find_newest(root / "models", said.append) is None
    assert "SHA-256" in said[0]


def test_hidden_and_unfinished_directories_and_links_are_no_models(root: Path) -> None:
    models, good = root / "models", only_model(root)
    shutil.copytree(good, models / ".tft_model_20990101_000000.x")
    shutil.copytree(good, models / "tft_model_20990101_000000.partial")
    (models / "tft_model_29990101_000000").symlink_to(good)  # no version: the daemon follows no link either
    newest = find_newest(models, lambda _: pytest.fail("nothing to say"))
    assert newest is not None
    assert newest.name == good.name


def test_there_may_be_no_directory_at_all(tmp_path: Path) -> None:
    assert find_newest(tmp_path / "nowhere", lambda _: None) is None
