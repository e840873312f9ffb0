"""A disk that forgets: what system calls leave on it when the power is cut.

It keeps what was synced, and of the rest whatever it likes: bytes of a file until `fsync` of the file, names in a
directory until `fsync` of the directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

from support.strace import Call

Bytes = Literal["lost", "torn", "kept"]
Names = Literal["lost", "last_only", "kept"]
VARIANTS: tuple[tuple[Bytes, Names], ...] = tuple(product(("lost", "torn", "kept"), ("lost", "last_only", "kept")))
"""What becomes of what was not synced. torn: of a file's writes the first half, the next one cut in the middle;
last_only: of the changes of a directory the last one alone, as a disk may write in any order."""


@dataclass(eq=False)
class _File:
    """synced: bytes that a power cut cannot take. writes since: (offset, bytes), or (length, None) for a truncation."""

    synced: bytes = b""
    writes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def content(self, bytes_: Bytes = "kept") -> bytes:
        if bytes_ == "lost":
            return self.synced
        writes = self.writes
        if bytes_ == "torn" and writes:
            half = len(writes) // 2
            offset, data = writes[half]
            writes = [*writes[:half], (offset, data if data is None else data[: len(data) // 2])]
        content = bytearray(self.synced)
        for offset, data in writes:
            content.extend(bytes(max(0, offset - len(content))))
            if data is None:
                del content[offset:]
            else:
                content[offset : offset + len(data)] = data
        return bytes(content)

    def sync(self) -> None:
        self.synced, self.writes = self.content(), []


@dataclass(eq=False)
class _Directory:
    """synced: names that a power cut cannot take. changes since: of each, the names that it set or (None) removed."""

    synced: dict[str, _File | _Directory] = field(default_factory=dict)
    changes: list[Mapping[str, _File | _Directory | None]] = field(default_factory=list)

    def entries(self, names: Names = "kept") -> dict[str, _File | _Directory]:
        changes = {"lost": [], "last_only": self.changes[-1:], "kept": self.changes}[names]
        entries = dict(self.synced)
        for change in changes:
            for name, entry in change.items():
                if entry is None:
                    entries.pop(name, None)
                else:
                    entries[name] = entry
        return entries

    def sync(self) -> None:
        self.synced, self.changes = self.entries(), []


@dataclass
class _Handle:
    entry: _File | _Directory
    path: str
    appends: bool
    offset: int = 0


class Disk:
    """The directory `root` and what is below it. What is there at the beginning is on the disk."""

    def __init__(self, root: Path, *, answers: Path) -> None:
        self._root = os.fspath(root)
        self._answers = os.fspath(answers)
        self.tree = _load(root)
        self.answered: list[str] = []
        self._handles: dict[int, _Handle] = {}
        self._answer_handles: set[int] = set()

    def matters(self, call: Call) -> bool:
        """Whether a cut before it and one after it are two things: it syncs, changes names or promises something."""
        match call.name:
            case "write":
                return _number(call) in self._answer_handles
            case "openat":
                return "O_CREAT" in str(call.arguments[2]) and self._parts(self._path(*call.arguments[:2])) is not None
            case "fsync" | "fdatasync":
                return _number(call) in self._handles
        return call.name.startswith(("rename", "unlink", "link", "mkdir", "rmdir"))

    def apply(self, call: Call) -> None:
        act: Callable[[Call], object] | None = getattr(self, f"_do_{call.name}", None)
        if act is not None:
            act(call)

    def find(self, *, bytes_: Bytes, names: Names) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Files and directories that a start finds if the power is cut now."""
        files: dict[str, bytes] = {}
        directories: list[str] = []
        waiting: list[tuple[str, _Directory]] = [("", self.tree)]
        while waiting:
            prefix, directory = waiting.pop()
            for name, entry in directory.entries(names).items():
                if isinstance(entry, _File):
                    files[prefix + name] = entry.content(bytes_)
                else:
                    directories.append(prefix + name)
                    waiting.append((f"{prefix}{name}/", entry))
        return files, tuple(sorted(directories))

    # --- system calls -------------------------------------------------------------

    def _do_openat(self, call: Call) -> None:
        path, flags = self._path(call.arguments[0], call.arguments[1]), str(call.arguments[2])
        self._forget(call.result)
        if path == self._answers:
            self._answer_handles.add(call.result)
            return
        entry = self._look_up(path)
        creates = entry is None and "O_CREAT" in flags and self._parent(path) is not None
        if creates:
            entry = _File()
            self._change(path, entry)
        if entry is None:
            return
        self._handles[call.result] = _Handle(entry, path, "O_APPEND" in flags)
        if isinstance(entry, _File) and "O_TRUNC" in flags:
            entry.writes.append((0, None))

    def _do_close(self, call: Call) -> None:
        self._forget(_number(call))

    def _do_fcntl(self, call: Call) -> None:
        if str(call.arguments[1]).startswith("F_DUPFD"):
            self._duplicate(_number(call), call.result)

    def _do_dup(self, call: Call) -> None:
        self._duplicate(_number(call), call.result)

    _do_dup2 = _do_dup3 = _do_dup

    def _do_lseek(self, call: Call) -> None:
        if handle := self._handles.get(_number(call)):
            handle.offset = call.result

    def _do_write(self, call: Call) -> None:
        number, data = _number(call), call.arguments[1]
        assert isinstance(data, bytes)
        if number in self._answer_handles:
            self.answered += data.decode().splitlines()
            return
        handle = self._handles.get(number)
        if handle and isinstance(handle.entry, _File):
            offset = len(handle.entry.content()) if handle.appends else handle.offset
            handle.entry.writes.append((offset, data[: call.result]))
            handle.offset = offset + call.result

    def _do_pwrite64(self, call: Call) -> None:
        data, offset = call.arguments[1], int(str(call.arguments[3]), 0)
        assert isinstance(data, bytes)
        if file := self._file(call):
            file.writes.append((offset, data[: call.result]))

    def _do_ftruncate(self, call: Call) -> None:
        if file := self._file(call):
            file.writes.append((int(str(call.arguments[1]), 0), None))

    def _do_fallocate(self, call: Call) -> None:
        file, (offset, length) = self._file(call), (int(str(text), 0) for text in call.arguments[2:4])
        if file and offset + length > len(file.content()):
            file.writes.append((offset + length, None))

    def _do_fsync(self, call: Call) -> None:
        handle = self._handles.get(_number(call))
        if handle is None:
            return
        handle.entry.sync()

    _do_fdatasync = _do_fsync

    def _do_rename(self, call: Call) -> None:
        self._move(self._path("AT_FDCWD", call.arguments[0]), self._path("AT_FDCWD", call.arguments[1]))

    def _do_renameat(self, call: Call) -> None:
        self._move(self._path(*call.arguments[:2]), self._path(*call.arguments[2:4]))

    _do_renameat2 = _do_renameat

    def _do_link(self, call: Call) -> None:
        entry = self._look_up(self._path("AT_FDCWD", call.arguments[0]))
        if entry is not None:
            self._change(self._path("AT_FDCWD", call.arguments[1]), entry)

    def _do_unlink(self, call: Call) -> None:
        self._change(self._path("AT_FDCWD", call.arguments[0]), None)

    _do_rmdir = _do_unlink

    def _do_unlinkat(self, call: Call) -> None:
        self._change(self._path(*call.arguments[:2]), None)

    def _do_mkdir(self, call: Call) -> None:
        self._change(self._path("AT_FDCWD", call.arguments[0]), _Directory())

    def _do_mkdirat(self, call: Call) -> None:
        self._change(self._path(*call.arguments[:2]), _Directory())

    def _do_writev(self, call: Call) -> None:
        assert _number(call) not in self._handles, "writes in several parts are not known here"

    _do_pwritev = _do_writev

    # --- names ------------------------------------------------------------------------------------------------

    def _path(self, directory: bytes | str, name: bytes | str) -> str:
        assert isinstance(name, bytes)
        text = os.fsdecode(name)
        number = str(directory)
        if number.isdigit() and int(number) in self._handles:
            text = str(Path(self._handles[int(number)].path, text))
        return os.path.normpath(text)

    def _parts(self, path: str) -> list[str] | None:
        """The names below the root, [] for itself; None for what is elsewhere."""
        if path == self._root:
            return []
        return path[len(self._root) + 1 :].split("/") if path.startswith(self._root + "/") else None

    def _look_up(self, path: str) -> _File | _Directory | None:
        parts = self._parts(path)
        if parts is None:
            return None
        entry: _File | _Directory | None = self.tree
        for name in parts:
            entry = entry.entries().get(name) if isinstance(entry, _Directory) else None
        return entry

    def _parent(self, path: str) -> _Directory | None:
        parent = self._look_up(str(Path(path).parent))
        return parent if isinstance(parent, _Directory) else None

    def _change(self, path: str, entry: _File | _Directory | None) -> None:
        if (parent := self._parent(path)) is not None:
            parent.changes.append({Path(path).name: entry})

    def _move(self, source: str, target: str) -> None:
        """Within a directory a rename is one change, as on a file system with a log; across two it is two."""
        entry = self._look_up(source)
        assert entry is not None or self._parts(target) is None, "files from elsewhere are not known here"
        if entry is None:
            return
        if Path(source).parent == Path(target).parent:
            parent = self._parent(source)
            assert parent is not None
            parent.changes.append({Path(source).name: None, Path(target).name: entry})
        else:
            self._change(target, entry)
            self._change(source, None)

    def _file(self, call: Call) -> _File | None:
        handle = self._handles.get(_number(call))
        return handle.entry if handle and isinstance(handle.entry, _File) else None

    def _duplicate(self, number: int, other: int) -> None:
        self._forget(other)
        if number in self._handles:
            self._handles[other] = self._handles[number]
        if number in self._answer_handles:
            self._answer_handles.add(other)

    def _forget(self, number: int) -> None:
        self._handles.pop(number, None)
        self._answer_handles.discard(number)


def _number(call: Call) -> int:
    return int(str(call.arguments[0]))


def _load(root: Path) -> _Directory:
    """What is there before the program starts."""
    entries: dict[str, _File | _Directory] = {}
    for path in root.iterdir():
        entries[path.name] = _load(path) if path.is_dir() else _File(path.read_bytes())
    return _Directory(entries)
