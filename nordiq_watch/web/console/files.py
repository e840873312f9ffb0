"""The console's files, read once at start: a request opens no file."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from flask import Response, request

from nordiq_watch.errors import NotFound

_DIRECTORY = Path(__file__).parent / "static"
_ANY_BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """One file: its bytes, its ETag and its media type."""

    content: bytes
    etag: str
    media_type: str


def read_files(directory: Path) -> Mapping[str, ConsoleFile]:
    """All files of a directory, by relative path."""
    paths = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): _read_file(path) for path in paths}


def _read_file(path: Path) -> ConsoleFile:
    content = path.read_bytes()
    media_type, _ = mimetypes.guess_type(path.name)
    return ConsoleFile(content, sha256(content).hexdigest()[:32], media_type or _ANY_BYTES)


_FILES = read_files(_DIRECTORY)


def send_file(name: str) -> Response:
    """The file, a range of it, or 304 if the browser has it. Raises NotFound if there is no such file."""
    file = _FILES.get(name)
    if file is None:
        raise NotFound(f"the console has no file {name!r:.80}")
    response = Response(file.content, mimetype=file.media_type)
    response.set_etag(file.etag)
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request, accept_ranges=True, complete_length=len(file.content))
    return response
