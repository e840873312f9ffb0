"""What a start may find after a power cut, at every moment of a recorded program.

`images` replays the program's system calls on a disk that forgets and yields, for each moment at which something can
have changed, a few variants from "everything arrived" to "nothing that was not synced did". The program says what it
has promised by writing lines into `answers`, a file outside of the directory.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from support.disk import VARIANTS, Disk
from support.strace import Call


class Image(NamedTuple):
    """What a start may find. files: relative path → bytes; directories: those that are there, empty ones too.

    answered: what was promised before the cut; moment: when it was, in words.
    """

    files: Mapping[str, bytes]
    directories: tuple[str, ...]
    answered: tuple[str, ...]
    moment: str

    def write(self, place: Path) -> None:
        place.mkdir(parents=True)
        for directory in self.directories:
            (place / directory).mkdir()
        for name, content in self.files.items():
            (place / name).write_bytes(content)


def images(calls: Sequence[Call], disk: Disk) -> Iterator[Image]:
    """Every different thing that a start may find, for a cut before and after each call that matters."""
    seen: set[int] = set()
    yield from _images_now(disk, seen, "at the beginning")
    for number, call in enumerate(calls):
        if not disk.matters(call):
            disk.apply(call)
            continue
        yield from _images_now(disk, seen, f"before {_describe(call, number)}")
        disk.apply(call)
        yield from _images_now(disk, seen, f"after {_describe(call, number)}")


def _images_now(disk: Disk, seen: set[int], moment: str) -> Iterator[Image]:
    for bytes_, names in VARIANTS:
        files, directories = disk.find(bytes_=bytes_, names=names)
        words = f"{moment}; not synced: bytes {bytes_}, names {names}"
        image = Image(files, directories, tuple(disk.answered), words)
        if _is_new(image, seen):
            yield image


def _is_new(image: Image, seen: set[int]) -> bool:
    sums = sorted((name, zlib.crc32(content), len(content)) for name, content in image.files.items())
    digest = hash((tuple(sums), image.directories, image.answered))
    if digest in seen:
        return False
    seen.add(digest)
    return True


def _describe(call: Call, number: int) -> str:
    shown = [os.fsdecode(argument)[-60:] if isinstance(argument, bytes) else argument for argument in call.arguments]
    return f"call {number}, {call.name}({', '.join(shown)[:160]})"
