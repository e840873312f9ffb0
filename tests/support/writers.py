"""Ways in which a model directory comes to be under models/, each as some tool or person does it.

A writer takes the finished `source`, which nobody watches, and makes `target` of it. It calls `pause()` in states that
may last: whatever watches may look as long as it likes, and must not take them for a version.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

WEIGHTS, CONFIG, MAPPING, INFO = "model.safetensors", "config.json", "server_mapping.json", "training_info.json"
EXTRAS = "extras.safetensors"
ORDERS = {
    "weights first": (WEIGHTS, CONFIG, MAPPING, INFO, EXTRAS),
    "weights last": (EXTRAS, CONFIG, MAPPING, INFO, WEIGHTS),
    "hashes first": (INFO, CONFIG, MAPPING, EXTRAS, WEIGHTS),
    "hashes last": (MAPPING, WEIGHTS, EXTRAS, CONFIG, INFO),
}
"""Extras only where the source has them."""

Pause = Callable[[], object]
Writer = Callable[[Path, Path, Pause], None]


def rename_in(source: Path, target: Path, pause: Pause) -> None:
    """A trainer's way: written under a hidden name beside, then renamed."""
    hidden = target.with_name(f".{target.name}.staging")
    shutil.copytree(source, hidden)
    hidden.rename(target)


def rename_from_partial(source: Path, target: Path, pause: Pause) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.copytree(source, partial)
    partial.rename(target)


def move_in(source: Path, target: Path, pause: Pause) -> None:
    """`mv` within one file system: whole at once."""
    source.rename(target)


def move_across(source: Path, target: Path, pause: Pause) -> None:
    """`mv` from another file system: a copy, file by file, and then the source goes away."""
    subprocess.run(["mv", source, target], check=True)


def copy(source: Path, target: Path, pause: Pause) -> None:
    subprocess.run(["cp", "-r", source, target], check=True)


def copy_preserving(source: Path, target: Path, pause: Pause) -> None:
    """Times go backwards: first they are now, then those of the source, years ago."""
    for path in (source, *source.iterdir()):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    subprocess.run(["cp", "-rp", source, target], check=True)


def sync(source: Path, target: Path, pause: Pause) -> None:
    subprocess.run(["rsync", "-a", "--ignore-times", f"{source}/", f"{target}/"], check=True)


def sync_in_place(source: Path, target: Path, pause: Pause) -> None:
    """rsync writes into the final files, from the front, slowly enough to be watched."""
    subprocess.run(
        ["rsync", "-a", "--ignore-times", "--inplace", "--bwlimit=200", f"{source}/", f"{target}/"], check=True
    )


def in_order(*names: str) -> Writer:
    """One file after the other, each whole, and a pause before the next."""

    def write(source: Path, target: Path, pause: Pause) -> None:
        target.mkdir()
        pause()
        write_in_order(source, target, pause, names)

    return write


def write_in_order(source: Path, target: Path, pause: Pause, names: tuple[str, ...]) -> None:
    first, *others = present(source, names)
    shutil.copyfile(source / first, target / first)
    for name in others:
        pause()
        shutil.copyfile(source / name, target / name)


def trickle(source: Path, target: Path, pause: Pause) -> None:
    """scp over a bad line: every file grows, stops, and grows on."""
    target.mkdir()
    for name in present(source, ORDERS["weights last"]):
        content = (source / name).read_bytes()
        half = len(content) // 2
        with (target / name).open("wb", buffering=0) as file:
            file.write(content[:half])
            pause()
            file.write(content[half:])


def reserve(file: BinaryIO, size: int) -> None:
    os.posix_fallocate(file.fileno(), 0, size)


def stretch(file: BinaryIO, size: int) -> None:
    file.truncate(size)


def preallocate(make_room: Callable[[BinaryIO, int], None], *, last: str = WEIGHTS) -> Writer:
    """The last file has its full length from the start, and is filled in three parts."""

    def write(source: Path, target: Path, pause: Pause) -> None:
        target.mkdir()
        for name in present(source, ORDERS["weights last"]):
            if name != last:
                shutil.copyfile(source / name, target / name)
        content = (source / last).read_bytes()
        third = len(content) // 3
        with (target / last).open("wb", buffering=0) as file:
            make_room(file, len(content))
            pause()
            file.write(content[:third])
            pause()
            file.write(content[third : 2 * third])
            pause()
            file.write(content[2 * third :])

    return write


def map_and_fill(source: Path, target: Path, pause: Pause) -> None:
    """Through a memory map: no write is ever announced, only the end of it."""
    target.mkdir()
    for name in present(source, (INFO, CONFIG, MAPPING)):
        shutil.copyfile(source / name, target / name)
    content = (source / WEIGHTS).read_bytes()
    half = len(content) // 2
    with (target / WEIGHTS).open("w+b", buffering=0) as file:
        file.truncate(len(content))
        with mmap.mmap(file.fileno(), len(content)) as view:
            view[:half] = content[:half]
            pause()
            view[half:] = content[half:]


def sync_late(source: Path, target: Path, pause: Pause) -> None:
    """Everything is written, nothing is on the disk, and the files stay open until it is."""
    target.mkdir()
    with opened(target, present(source, ORDERS["hashes last"])) as files:
        for name, file in files.items():
            file.write((source / name).read_bytes())
        pause()
        for file in files.values():
            os.fsync(file.fileno())


def refill(source: Path, target: Path, pause: Pause) -> None:
    """Begun, thought better of, begun anew, twice, and then done."""
    for begun in ((CONFIG,), (MAPPING, CONFIG)):
        target.mkdir(exist_ok=True)
        for name in present(source, begun):
            shutil.copyfile(source / name, target / name)
        pause()
        for path in target.iterdir():
            path.unlink()
    target.rmdir()
    in_order(*ORDERS["weights last"])(source, target, pause)


def overwrite(source: Path, target: Path, pause: Pause) -> None:
    """A version that is there gets other bytes, file by file into the same inodes, the old hashes last."""
    for name in present(source, ORDERS["hashes last"]):
        content = (source / name).read_bytes()
        half = len(content) // 2
        with (target / name).open("r+b", buffering=0) as file:
            file.write(content[:half])
            pause()
            file.write(content[half:])
            file.truncate()


def replace_files(source: Path, target: Path, pause: Pause) -> None:
    """Each file of a version that is there is replaced by a rename, as rsync does it."""
    for name in present(source, ORDERS["weights first"]):
        shutil.copyfile(source / name, target / f".{name}.new")
        (target / f".{name}.new").rename(target / name)
        pause()


def copy_over(source: Path, target: Path, pause: Pause) -> None:
    """`cp` onto a version that is there: each file is cut to nothing, and grows again."""
    for name in present(source, ORDERS["weights last"]):
        with (target / name).open("wb", buffering=0) as file:
            pause()
            file.write((source / name).read_bytes())


def present(source: Path, names: tuple[str, ...]) -> list[str]:
    """Those of the files that the source has, in this order."""
    return [name for name in names if (source / name).exists()]


@contextmanager
def opened(directory: Path, names: list[str]) -> Iterator[dict[str, BinaryIO]]:
    files = {name: (directory / name).open("wb", buffering=0) for name in names}
    try:
        yield files  # type: ignore[misc]
    finally:
        for file in files.values():
            file.close()


_DYING_WRITER = """
import os, pathlib, signal, sys
source, target, left = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
target.mkdir(exist_ok=True)
for name in sys.argv[4:]:
    with open(target / name, "wb", buffering=0) as file:
        content = (source / name).read_bytes()
        file.write(content[:left])
        left -= len(content)
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def die_after(count: int, *order: str) -> Writer:
    """A process that writes file by file, and is killed with SIGKILL once it has written `count` bytes."""

    def write(source: Path, target: Path, pause: Pause) -> None:
        arguments = [str(source), str(target), str(count), *present(source, order)]
        done = subprocess.run([sys.executable, "-S", "-E", "-c", _DYING_WRITER, *arguments], check=False)
        assert done.returncode == -signal.SIGKILL

    return write
