"""What a program did to files, as `strace` saw it: its system calls in order, with all bytes that it wrote.

The calls of several threads may overlap; one counts from the moment at which it returned.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

_CALLS = (
    "open,openat,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,truncate,ftruncate,fallocate,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat"
)
_LONGEST_STRING = 64 * 2**20
_LINE = re.compile(r"(?:(\d+) +)?(\w+)\((.*)\) += (-?\d+)(?: .*)?")
_BEGUN = re.compile(r"(?:(\d+) +)?(\w+\(.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"(?:(\d+) +)?<\.\.\. \w+ resumed>(.*)")
_ARGUMENT = re.compile(r'"([^"]*)"(\.\.\.)?|([^,"]+)')


class Call(NamedTuple):
    """A system call that succeeded. Strings are bytes, all other arguments are as strace writes them."""

    name: str
    arguments: tuple[bytes | str, ...]
    result: int


def record(script: str, *arguments: str, into: Path, path: Sequence[Path] = ()) -> list[Call]:
    """Runs a Python script and returns its calls. Skips the test where no process may be traced."""
    _skip_without_strace()
    code = f"import sys; sys.path[:0] = {[str(entry) for entry in path]!r}\n{script}"
    command = ["strace", "-f", "-qq", "-xx", "-s", str(_LONGEST_STRING), "-e", f"trace={_CALLS}", "-e", "signal=none"]
    done = subprocess.run(
        [*command, "-o", str(into), sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with into.open(encoding="ascii") as lines:
        return list(parse(lines))


def parse(lines: Iterator[str] | Sequence[str]) -> Iterator[Call]:
    """The calls that succeeded in what `strace -f -xx` wrote."""
    begun: dict[str | None, str] = {}
    for line in lines:
        line = line.rstrip("\n")
        if match := _BEGUN.fullmatch(line):
            begun[match[1]] = match[2]
            continue
        if match := _RESUMED.fullmatch(line):
            line = begun.pop(match[1]) + match[2]
        match = _LINE.fullmatch(line)
        if match is not None and int(match[4]) >= 0:
            yield Call(match[2], tuple(_read_arguments(match[3])), int(match[4]))


def _read_arguments(text: str) -> Iterator[bytes | str]:
    for match in _ARGUMENT.finditer(text):
        assert match[2] is None, "a string was cut short"
        if match[1] is not None:
            yield bytes.fromhex(match[1].replace("\\x", ""))
        elif argument := match[3].strip():
            yield argument


@cache
def _is_allowed() -> bool:
    return subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def _skip_without_strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if not _is_allowed():
        pytest.skip("no process may be traced here (ptrace)")
