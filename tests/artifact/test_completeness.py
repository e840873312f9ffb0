from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from support.specs import write_whole_directory, write_whole_directory_with_extras

from nordiq_watch.artifact.completeness import judge
from nordiq_watch.artifact.layout import CONFIG_FILE, EXTRAS_FILE, INFO_FILE, MAPPING_FILE, REQUIRED_FILES, WEIGHTS_FILE


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_whole_directory(tmp_path)


def test_a_whole_directory_is_complete_and_carries_its_proof(directory: Path) -> None:
    verdict = judge(directory)
    assert (verdict.complete, verdict.proven, verdict.reason) == (True, True, None)


def test_without_training_info_it_is_complete_but_unproven(directory: Path) -> None:
    (directory / INFO_FILE).unlink()
    verdict = judge(directory)
    assert (verdict.complete, verdict.proven) == (True, False)


def test_hashes_of_some_files_prove_nothing(directory: Path) -> None:
    info = json.loads((directory / INFO_FILE).read_bytes())
    del info["sha256"][MAPPING_FILE]
    (directory / INFO_FILE).write_text(json.dumps(info))
    assert not judge(directory).proven


@pytest.fixture
def with_extras(tmp_path: Path) -> Path:
    return write_whole_directory_with_extras(tmp_path / "with_extras")


@pytest.mark.parametrize("name", REQUIRED_FILES)
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    verdict = judge(directory)
    assert not verdict.complete
    assert verdict.reason == f"{name} missing"


@pytest.mark.parametrize("name", [CONFIG_FILE, MAPPING_FILE, INFO_FILE])
def test_no_prefix_of_a_json_file_is_complete(directory: Path, name: str) -> None:
    content = (directory / name).read_bytes().rstrip()
    for length in range(0, len(content), 97):
        (directory / name).write_bytes(content[:length])
        verdict = judge(directory)
        assert not verdict.complete
        assert name in str(verdict.reason)


def test_truncated_weights_are_named_with_both_sizes(directory: Path) -> None:
    content = (directory / WEIGHTS_FILE).read_bytes()
    (directory / WEIGHTS_FILE).write_bytes(content[:-1])
    verdict = judge(directory)
    assert not verdict.complete
    assert f"has {len(content) - 1:,} bytes, its header says {len(content):,}" in str(verdict.reason)


def preallocate(weights: Path, *, written: float) -> None:
    """The file keeps its length, but only this share of its bytes was ever written."""
    content = weights.read_bytes()
    with weights.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, len(content))
        file.write(content[: int(len(content) * written)])
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # it lies there for long


def test_weights_that_were_preallocated_and_not_yet_filled_are_incomplete(directory: Path) -> None:
    (directory / INFO_FILE).unlink()
    preallocate(directory / WEIGHTS_FILE, written=0.1)
    for _ in range(2):  # looking must not change what is seen
        verdict = judge(directory)
        assert not verdict.complete
        assert "model.safetensors is not written from byte 4,096 on" in str(verdict.reason)


def test_where_hashes_tell_a_sparse_file_is_as_good_as_any(directory: Path) -> None:
    preallocate(directory / WEIGHTS_FILE, written=0.5)
    assert judge(directory).proven


def test_with_its_extras_a_directory_is_complete_and_proven(with_extras: Path) -> None:
    verdict = judge(with_extras)
    assert (verdict.complete, verdict.proven, verdict.reason) == (True, True, None)


@pytest.mark.parametrize("name", [*REQUIRED_FILES, EXTRAS_FILE])
def test_a_directory_that_names_extras_is_incomplete_without_any_of_them(with_extras: Path, name: str) -> None:
    (with_extras / name).unlink()
    verdict = judge(with_extras)
    assert (verdict.complete, verdict.reason) == (False, f"{name} missing")


def test_hashes_without_that_of_the_extras_prove_nothing(with_extras: Path) -> None:
    info = json.loads((with_extras / INFO_FILE).read_bytes())
    del info["sha256"][EXTRAS_FILE]
    (with_extras / INFO_FILE).write_text(json.dumps(info))
    verdict = judge(with_extras)
    assert (verdict.complete, verdict.proven) == (True, False)


def test_no_prefix_of_the_extras_is_complete(with_extras: Path) -> None:
    content = (with_extras / EXTRAS_FILE).read_bytes()
    for length in range(0, len(content), 97):
        (with_extras / EXTRAS_FILE).write_bytes(content[:length])
        verdict = judge(with_extras)
        assert not verdict.complete
        assert str(verdict.reason).startswith(f"{EXTRAS_FILE} ")


def test_extras_that_were_preallocated_and_not_yet_filled_are_incomplete(with_extras: Path) -> None:
    (with_extras / INFO_FILE).unlink()
    preallocate(with_extras / EXTRAS_FILE, written=0.1)
    assert "extras.safetensors is not written from byte 4,096 on" in str(judge(with_extras).reason)


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_extras_that_are_no_regular_file_are_incomplete(with_extras: Path, tmp_path: Path, kind: str) -> None:
    path = with_extras / EXTRAS_FILE
    moved = path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(moved)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    verdict = judge(with_extras)
    expected = "is a symbolic link" if kind == "link" else "is not a regular file"
    assert (verdict.complete, verdict.reason) == (False, f"{EXTRAS_FILE} {expected}")


def test_extras_that_are_not_named_do_not_matter(directory: Path) -> None:
    (directory / EXTRAS_FILE).write_bytes(b"half")
    assert judge(directory).proven


def test_a_link_in_place_of_a_file_is_not_followed(directory: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    shutil.move(directory / CONFIG_FILE, outside)
    (directory / CONFIG_FILE).symlink_to(outside)
    verdict = judge(directory)
    assert verdict.reason == "config.json is a symbolic link"


def test_a_newer_format_is_complete_all_the_same(directory: Path) -> None:
    content = json.loads((directory / CONFIG_FILE).read_bytes())
    content["format_version"] = 99
    content.pop("network")
    (directory / CONFIG_FILE).write_text(json.dumps(content))
    assert judge(directory).complete


def test_other_files_in_the_directory_do_not_matter(directory: Path) -> None:
    (directory / "README.md").write_text("notes")
    (directory / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert judge(directory).complete
