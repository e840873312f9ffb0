"""The disk that forgets, by itself: what it loses of a careless writer, and nothing of a careful one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import strace
from support.disk import Disk
from support.power_cut import Image, images
from support.strace import Call, parse

ROOT = Path("/disk")


def open_call(name: str, flags: str, number: int) -> Call:
    return Call("openat", ("AT_FDCWD", str(ROOT / name).encode(), flags), number)


def rename(old: str, new: str) -> Call:
    return Call("rename", (str(ROOT / old).encode(), str(ROOT / new).encode()), 0)


CREATE = [open_call("draft", "O_WRONLY|O_CREAT|O_EXCL", 3), Call("write", ("3", b"new content", "11"), 11)]
SYNC_FILE, SYNC_ROOT = Call("fsync", ("3",), 0), [open_call("", "O_RDONLY|O_DIRECTORY", 4), Call("fsync", ("4",), 0)]
REPLACE = rename("draft", "file")


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    (tmp_path / "file").write_bytes(b"old")
    made = Disk(tmp_path, answers=Path("/answers"))
    made._root = str(ROOT)
    return made


def contents(found: list[Image]) -> set[bytes | None]:
    return {image.files.get("file") for image in found}


def test_a_careful_writer_leaves_the_old_bytes_or_the_new_ones_and_then_the_new_ones(disk: Disk) -> None:
    calls = [*CREATE, SYNC_FILE, REPLACE, *SYNC_ROOT]
    assert contents(list(images(calls, disk))) == {b"old", b"new content"}
    assert contents(list(images([], disk))) == {b"new content"}


def test_a_writer_that_syncs_no_directory_may_find_the_old_bytes(disk: Disk) -> None:
    list(images([*CREATE, SYNC_FILE, REPLACE], disk))
    assert contents(list(images([], disk))) == {b"old", b"new content"}


def test_a_writer_that_syncs_no_file_may_find_an_empty_or_a_torn_one(disk: Disk) -> None:
    list(images([*CREATE, REPLACE, *SYNC_ROOT], disk))
    assert contents(list(images([], disk))) == {b"", b"new c", b"new content"}


def test_a_writer_in_place_may_find_what_is_neither(disk: Disk) -> None:
    calls = [open_call("file", "O_WRONLY|O_TRUNC", 3), Call("write", ("3", b"new", "3"), 3), SYNC_FILE]
    assert contents(list(images(calls, disk))) == {b"old", b"new", b"n"}


def test_a_deleted_file_may_be_back_until_its_directory_is_synced(disk: Disk) -> None:
    list(images([Call("unlink", (str(ROOT / "file").encode(),), 0)], disk))
    assert contents(list(images([], disk))) == {b"old", None}
    list(images(SYNC_ROOT, disk))
    assert contents(list(images([], disk))) == {None}


def test_of_two_changes_of_a_directory_the_later_one_may_arrive_alone(disk: Disk) -> None:
    list(images([*CREATE, SYNC_FILE, Call("unlink", (str(ROOT / "file").encode(),), 0)], disk))
    assert {tuple(image.files) for image in images([], disk)} == {("file",), (), ("draft",)}


def test_a_directory_may_be_lost_with_all_that_was_synced_in_it(disk: Disk) -> None:
    made = Call("mkdir", (str(ROOT / "new").encode(), "0777"), 0)
    synced = [open_call("new/file", "O_WRONLY|O_CREAT", 3), SYNC_FILE, open_call("new", "O_RDONLY|O_DIRECTORY", 4)]
    list(images([made, *synced, Call("fsync", ("4",), 0)], disk))
    assert {image.directories for image in images([], disk)} == {(), ("new",)}


def test_answers_are_told_from_the_moment_at_which_they_were_written(disk: Disk) -> None:
    calls = [Call("openat", ("AT_FDCWD", b"/answers", "O_WRONLY|O_CREAT"), 5), Call("write", ("5", b"one\n", "4"), 4)]
    assert [image.answered for image in images(calls, disk)] == [(), ("one",)]


def test_calls_of_two_threads_count_when_they_return() -> None:
    lines = [
        '7  fsync(3 <unfinished ...>',
        r'8  write(4, "\x61\x2c\x22", 3) = 3',
        '7  <... fsync resumed>)              = 0',
        r'8  openat(AT_FDCWD, "\x2f\x61", O_RDONLY) = -1 ENOENT (No such file or directory)',
    ]  # fmt: skip
    assert list(parse(lines)) == [Call("write", ("4", b'a,"', "3"), 3), Call("fsync", ("3",), 0)]


WRITER = """
import os, sys
from pathlib import Path
root = Path(sys.argv[1])
answers = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
with (root / "draft").open("wb") as file:
    file.write(b"content")
    file.flush()
    os.fsync(file.fileno())
(root / "draft").rename(root / "file")
if sys.argv[3] == "careful":
    os.fsync(os.open(root, os.O_RDONLY))
os.write(answers, b"written\\n")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("writer", "found"), [("careful", {b"content"}), ("careless", {b"content", None})])
def test_a_real_program_is_seen_as_it_is(tmp_path: Path, writer: str, found: set[bytes | None]) -> None:
    root, answers = tmp_path / "disk", tmp_path / "answers"
    root.mkdir()
    disk = Disk(root, answers=answers)
    calls = strace.record(WRITER, str(root), str(answers), writer, into=tmp_path / "calls")
    assert contents([image for image in images(calls, disk) if image.answered]) == found
