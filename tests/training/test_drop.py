from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.specs import small_spec, weights_bytes

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.layout import EXTRAS_FILE
from nordiq_watch.artifact.manifest import read_mapping
from nordiq_watch.spec import Extras, TrainingInfo
from nordiq_watch.training.drop import KEPT_REFUSALS, Product, drop, map_servers

NOW = datetime(2025, 1, 30, 14, 30, tzinfo=UTC)
PRODUCT = Product(weights_bytes(), small_spec(), TrainingInfo(), servers=("b", "a"), known={})


def refuse(_: Path) -> bool:
    return False


def names(models_dir: Path) -> list[str]:
    return sorted(path.name for path in models_dir.iterdir())


def test_a_name_that_is_taken_moves_to_the_next_free_second(tmp_path: Path) -> None:
    assert drop(tmp_path, PRODUCT, at=NOW).name == "tft_model_20250130_143000"
    second = drop(tmp_path, PRODUCT, at=NOW)
    assert second.name == "tft_model_20250130_143001"
    assert read_mapping(second).version == second.name


def test_extras_are_dropped_with_the_rest(tmp_path: Path) -> None:
    spec = small_spec(format_version=2, extras=Extras(slots=8))
    directory = drop(tmp_path, replace(PRODUCT, spec=spec, extras=weights_bytes(seed=7)), at=NOW)
    assert judge(directory).proven
    assert (directory / EXTRAS_FILE).read_bytes() == weights_bytes(seed=7)


def test_a_refused_version_is_whole_and_hidden(tmp_path: Path) -> None:
    directory = drop(tmp_path, PRODUCT, at=NOW, accept=refuse)
    assert directory.name == ".refused_tft_model_20250130_143000"
    assert judge(directory).proven
    assert read_mapping(directory).version == "tft_model_20250130_143000"


def test_a_refused_version_takes_no_name_of_a_dropped_one(tmp_path: Path) -> None:
    """Renaming it back must be possible."""
    drop(tmp_path, PRODUCT, at=NOW)
    assert drop(tmp_path, PRODUCT, at=NOW, accept=refuse).name == ".refused_tft_model_20250130_143001"


def test_only_the_newest_refused_versions_stay(tmp_path: Path) -> None:
    others = ["tft_model_20240101_000000", ".refused_by_hand", ".tft_model_20240101_000000.expired"]
    for name in others:
        (tmp_path / name).mkdir()
    made = [
        drop(tmp_path, PRODUCT, at=NOW + timedelta(days=day), accept=refuse).name for day in range(KEPT_REFUSALS + 2)
    ]
    assert names(tmp_path) == sorted([*others, *made[2:]])


def test_a_drop_leaves_refused_versions_alone(tmp_path: Path) -> None:
    refused, dropped = drop(tmp_path, PRODUCT, at=NOW, accept=refuse), drop(tmp_path, PRODUCT, at=NOW)
    assert names(tmp_path) == [refused.name, dropped.name]


def test_known_servers_keep_their_numbers() -> None:
    mapping = map_servers(["c", "a", "b"], known={"b": 4, "z": 0}, version="v")
    assert mapping.name_to_id == {"b": 4, "z": 0, "a": 5, "c": 6}
    assert mapping.total_servers == 4
