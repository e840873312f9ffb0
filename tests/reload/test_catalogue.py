from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.specs import write_whole_directory

from nordiq_watch.artifact.layout import WEIGHTS_FILE, is_candidate, refused_name
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
    write_whole_directory(tmp_path, "tft_model_20250105_000000").rename(
        tmp_path / refused_name("tft_model_20250105_000000")
    )
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


def test_what_training_refused_cannot_be_named(tmp_path: Path) -> None:
    write_whole_directory(tmp_path / "models", A).rename(tmp_path / "models" / refused_name(A))
    with pytest.raises(RequestError, match="is not a version"):
        Catalogue(tmp_path / "models").resolve(f"models/{refused_name(A)}")


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


def test_what_was_meant_as_a_version_and_is_none_is_listed_with_the_rule(tmp_path: Path) -> None:
    outside = write_whole_directory(tmp_path / "elsewhere", A)
    models = tmp_path / "models"
    write_whole_directory(models, A)
    (models / B).symlink_to(outside)
    (models / "tft_model_2025-01-31T14:30:00").mkdir()
    (models / "TFT_model_20250131_143000.tar.gz").write_text("packed")
    for on_purpose in (".hidden", "tft_model_20250103_000000.partial", "lost+found"):
        (models / on_purpose).mkdir()
    (models / "README").write_text("models go here")
    versions, ignored = Catalogue(models).look()
    assert [version.name for version in versions] == [A]
    reasons = {entry.name: entry.reason for entry in ignored}
    assert set(reasons) == {B, "tft_model_2025-01-31T14:30:00", "TFT_model_20250131_143000.tar.gz"}
    assert "it is a link, and only real directories are loaded" in reasons[B]
    assert "call it tft_model_YYYYMMDD_HHMMSS" in reasons["tft_model_2025-01-31T14:30:00"]
    assert "a version is a directory: unpack it" in reasons["TFT_model_20250131_143000.tar.gz"]


def test_one_listing_gives_versions_and_what_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing a directory on a network file system is the dearest part of a look."""
    write_whole_directory(tmp_path, A)
    (tmp_path / "TFT_model_x").mkdir()
    listings: list[Path] = []
    iterdir = Path.iterdir

    def counted(place: Path) -> Iterator[Path]:
        listings.append(place)
        return iterdir(place)

    monkeypatch.setattr(Path, "iterdir", counted)
    versions, ignored = Catalogue(tmp_path).look()
    assert ([version.name for version in versions], [entry.name for entry in ignored]) == ([A], ["TFT_model_x"])
    assert listings == [tmp_path]
