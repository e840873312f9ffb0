from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.specs import write_whole_directory

from nordiq_watch.artifact.layout import WEIGHTS_FILE, is_candidate
from nordiq_watch.errors import RequestError
from nordiq_watch.reload.catalogue import Catalogue

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"


def test_newest_first_and_only_versions(tmp_path: Path) -> None:
    for name in (A, B, "tft_model_best"):
        write_whole_directory(tmp_path, name)
    (tmp_path / "tft_model_file").write_text("not a directory")
    (tmp_path / "tft_model_20250103_000000.tmp").mkdir()
    (tmp_path / ".tft_model_20250104_000000.x1").mkdir()
    (tmp_path / "notes").mkdir()
    assert [version.name for version in Catalogue(tmp_path).scan()] == [B, A, "tft_model_best"]


def test_a_missing_models_directory_holds_no_versions(tmp_path: Path) -> None:
    assert Catalogue(tmp_path / "models").scan() == ()


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path, A)
    catalogue = Catalogue(tmp_path)

    def fingerprint() -> str:
        return catalogue.scan()[0].fingerprint

    before = fingerprint()
    assert fingerprint() == before
    (directory / "notes.txt").write_text("does not matter")
    assert fingerprint() == before
    status = (directory / WEIGHTS_FILE).stat()
    (directory / WEIGHTS_FILE).write_bytes((directory / WEIGHTS_FILE).read_bytes())
    os.utime(directory / WEIGHTS_FILE, ns=(status.st_atime_ns, status.st_mtime_ns))  # as cp -p does
    assert fingerprint() != before


def test_a_linked_directory_is_no_version(tmp_path: Path) -> None:
    outside = write_whole_directory(tmp_path / "elsewhere", A)
    models = tmp_path / "models"
    models.mkdir()
    (models / B).symlink_to(outside)
    catalogue = Catalogue(models)
    assert catalogue.scan() == ()
    with pytest.raises(RequestError, match="symbolic link"):
        catalogue.resolve(f"models/{B}")


@pytest.mark.parametrize("text", [A, f"models/{A}", f"models/{A}/"])
def test_how_a_version_may_be_named(tmp_path: Path, text: str) -> None:
    assert Catalogue(tmp_path / "models").resolve(text) == A


@given(text=st.text(max_size=60) | st.builds("{}{}".format, st.sampled_from(["../", "/", "models/", ""]), st.text()))
@example("../tft_model_x")
@example("/etc/passwd")
@example("models/../../etc")
@example("models/tft_model_x/../../../etc")
@example("models%2ftft_model_x")
@example("tft_model_%2e%2e")
@example("tft_model_..\\..")
@example("tft_model_x\0")
@example("tft_model_x\n")
def test_whatever_else_is_sent_is_refused_or_is_a_name(text: str) -> None:
    try:
        name = Catalogue(Path("/nowhere/models")).resolve(text)
    except RequestError:
        return
    assert is_candidate(name)
    assert Path(name).name == name
    assert ".." not in Path(name).parts


def test_a_verdict_follows_the_bytes(tmp_path: Path) -> None:
    directory = write_whole_directory(tmp_path, A)
    catalogue = Catalogue(tmp_path)
    assert catalogue.judge(catalogue.scan()[0]).complete
    (directory / WEIGHTS_FILE).write_bytes(b"")
    assert not catalogue.judge(catalogue.scan()[0]).complete
