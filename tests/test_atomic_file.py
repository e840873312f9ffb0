from __future__ import annotations

import os
from pathlib import Path

import pytest

from nordiq_watch.atomic_file import append_line, create_file, make_directories, replace_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside(path: Path) -> None:
    replace_file(path, b"one", mode=0o640)
    replace_file(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_left_is_in_nobody_s_way(path: Path) -> None:
    path.with_name(".file.partial").write_bytes(b"half")
    replace_file(path, b"one")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_led_to_is_left_alone(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"kept")
    path.symlink_to("elsewhere")
    path.with_name(".file.partial").symlink_to("elsewhere")
    replace_file(path, b"one")
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"


def test_a_write_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file(path, b"one")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_there_is_not_created(path: Path) -> None:
    create_file(path, b"one", mode=0o600)
    with pytest.raises(FileExistsError):
        create_file(path, b"two")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, b"new\n"), (b"", b"new\n"), (b"old\n", b"old\nnew\n"), (b"old\nto", b"old\nto\nnew\n")],
)
def test_a_line_is_a_line_of_its_own(path: Path, before: bytes | None, after: bytes) -> None:
    if before is not None:
        path.write_bytes(before)
    append_line(path, b"new")
    assert path.read_bytes() == after


def test_directories_are_made_as_far_as_they_are_missing(tmp_path: Path) -> None:
    for _ in range(2):
        make_directories(tmp_path / "a/b/c")
    assert (tmp_path / "a/b/c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directories(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        make_directories(tmp_path / "file/below")
