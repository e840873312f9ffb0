from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.specs import (
    mapping_of,
    small_spec,
    weights_bytes,
    write_whole_directory,
    write_whole_directory_with_extras,
)

from nordiq_watch.artifact.layout import CONFIG_FILE, EXTRAS_FILE, INFO_FILE, MAPPING_FILE, WEIGHTS_FILE
from nordiq_watch.artifact.manifest import BrokenManifest, UnknownFormat, decode_spec, encode, read_info
from nordiq_watch.artifact.reader import HashMismatch, read_model
from nordiq_watch.artifact.writer import write_model_directory
from nordiq_watch.spec import CenterScale, Extras, TargetNormalizer, TrainingInfo

V2 = {"format_version": 2}


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path)
    model = read_model(directory)
    assert model.spec == small_spec()
    assert set(model.mapping.name_to_id) == {"ppdb001", "ppml001"}
    assert model.info is not None
    assert model.info.epochs == 3
    assert np.frombuffer(model.weights.tensors["layer.bias"].data, dtype=np.float32).tolist() == [0.0] * 64


def test_numbers_survive_json_to_the_last_bit(tmp_path: Path) -> None:
    groups = {"ppdb001": CenterScale(0.1 + 0.2, 1 / 3)}
    spec = small_spec(target_normalizers={"cpu_user_pct": TargetNormalizer(kind="group", groups=groups)})
    assert decode_spec(encode(spec)) == spec


def test_hidden_while_written_and_nothing_left_after(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]
    assert directory.stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_whole_directory(tmp_path, weights="not bytes")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_is_refused_and_kept(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path)
    before = (directory / WEIGHTS_FILE).read_bytes()
    with pytest.raises(FileExistsError):
        write_whole_directory(tmp_path, weights=weights_bytes(seed=1))
    assert (directory / WEIGHTS_FILE).read_bytes() == before


def test_a_refused_version_is_whole_and_hidden(tmp_path: Path) -> None:
    name = "tft_model_20250130_143000"
    directory = write_model_directory(
        tmp_path,
        name=name,
        weights=weights_bytes(),
        spec=small_spec(),
        mapping=mapping_of("ppdb001", version=name),
        info=TrainingInfo(),
        accept=lambda _: False,
    )
    assert directory == tmp_path / ".refused_tft_model_20250130_143000"
    assert read_model(directory).mapping.version == name
    with pytest.raises(FileExistsError):
        write_model_directory(
            tmp_path,
            name=name,
            weights=weights_bytes(),
            spec=small_spec(),
            mapping=mapping_of("ppdb001", version=name),
            info=TrainingInfo(),
            accept=lambda _: False,
        )


def test_it_is_accepted_whole_under_a_hidden_name(tmp_path: Path) -> None:
    name = "tft_model_20250130_143000"
    seen: list[tuple[bool, str]] = []

    def accept(place: Path) -> bool:
        assert not (tmp_path / name).exists()
        seen.append((place.name.startswith("."), read_model(place).mapping.version))
        return True

    directory = write_model_directory(
        tmp_path,
        name=name,
        weights=weights_bytes(),
        spec=small_spec(),
        mapping=mapping_of("ppdb001", version=name),
        info=TrainingInfo(),
        accept=accept,
    )
    assert seen == [(True, name)]
    assert list(tmp_path.iterdir()) == [directory] == [tmp_path / name]


def test_a_name_that_is_no_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not the name of a version"):
        write_model_directory(
            tmp_path,
            name="../tft_model_x",
            weights=weights_bytes(),
            spec=small_spec(),
            mapping=mapping_of(),
            info=TrainingInfo(),
        )


def test_training_info_holds_the_hash_of_each_other_file(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path)
    info = read_info(directory)
    assert info is not None
    assert info.sha256 == {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest()
        for name in (WEIGHTS_FILE, CONFIG_FILE, MAPPING_FILE)
    }


@pytest.mark.parametrize(
    ("write", "name"), [(write_whole_directory, WEIGHTS_FILE), (write_whole_directory_with_extras, EXTRAS_FILE)]
)
def test_a_flipped_bit_is_found_by_the_hash(write: Callable[[Path], Path], name: str, tmp_path: Path) -> None:
    directory = write(tmp_path)
    content = bytearray((directory / name).read_bytes())
    content[-1] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(HashMismatch, match=name):
        read_model(directory)


def test_without_hashes_the_content_still_has_one_identity(tmp_path: Path) -> None:
    first = write_whole_directory(tmp_path / "a")
    second = write_whole_directory(tmp_path / "b")
    (second / INFO_FILE).unlink()
    assert read_model(first).content_sha256 == read_model(second).content_sha256
    other = write_whole_directory(tmp_path / "c", weights=weights_bytes(seed=1))
    assert read_model(first).content_sha256 != read_model(other).content_sha256


def test_extras_are_written_read_hashed_and_part_of_the_identity(tmp_path: Path) -> None:
    directory = write_whole_directory_with_extras(tmp_path / "a")
    model, content = read_model(directory), (directory / EXTRAS_FILE).read_bytes()
    assert model.extras is not None
    assert model.extras.sha256 == hashlib.sha256(content).hexdigest()
    assert model.info is not None
    assert model.info.sha256[EXTRAS_FILE] == model.extras.sha256
    assert set(model.extra_tensors) == {"layer.weight", "layer.bias"}
    other = read_model(write_whole_directory_with_extras(tmp_path / "b", extras=weights_bytes(seed=8)))
    assert other.weights.sha256 == model.weights.sha256
    assert other.content_sha256 != model.content_sha256


def test_extras_that_config_json_does_not_name_are_not_read(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path)
    before = read_model(directory)
    (directory / EXTRAS_FILE).write_bytes(b"anything")
    assert read_model(directory).content_sha256 == before.content_sha256
    assert before.extras is None


@pytest.mark.parametrize(
    "changes",
    [{"extras": weights_bytes()}, {"spec": small_spec(format_version=2, extras=Extras(slots=8))}],
)
def test_extras_and_their_name_in_config_json_are_written_together(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=EXTRAS_FILE):
        write_whole_directory(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"format_version": 3}, UnknownFormat, "format_version 3, this version reads 1 and 2"),
        ({"format_version": 2}, BrokenManifest, "format_version 2, a model without extras has 1"),
        ({"extras": {"slots": 8}}, BrokenManifest, "format_version 1, a model with extras has 2"),
        (V2 | {"extras": {"slots": 0}}, BrokenManifest, r"extras\.slots"),
        (V2 | {"extras": {"members": ["linear"]}}, BrokenManifest, "required field `slots`"),
        (V2 | {"extras": {"slots": 8, "file": "../../etc/passwd"}}, BrokenManifest, r"extras\.file"),
        (V2 | {"extras": {"slots": 8, "file": "model.safetensors"}}, BrokenManifest, r"extras\.file"),
        (V2 | {"extras": "extras.safetensors"}, BrokenManifest, "extras"),
        ({"model_type": "DeepAR"}, UnknownFormat, "'DeepAR'"),
        ({"quantiles": [0.5, 1.5]}, BrokenManifest, r"quantiles\[1\]"),
        ({"interval_seconds": "300"}, BrokenManifest, "interval_seconds"),
        ({"targets": None}, BrokenManifest, "targets"),
    ],
)
def test_a_config_that_is_not_as_documented_is_named(change: dict[str, object], error: type, says: str) -> None:
    content = json.loads(msgspec.json.encode(small_spec())) | change
    with pytest.raises(error, match=says):
        decode_spec(json.dumps(content).encode())
