"""Long answers, sent in pieces while the rest is written. A thread is held until the client has the last one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

from flask import Response

from nordiq_watch.errors import Busy
from nordiq_watch.live.fleet_answer import GZIP_LEVEL
from nordiq_watch.web.request_slots import request_slots

_GZIP = zlib.MAX_WBITS + 16
"""Of zlib: with gzip's header and trailer."""


def stream(pieces: Iterable[bytes], *, media: str) -> Response:
    """An answer of unknown length. Raises Busy while too many others are computed or sent like this."""
    held = ExitStack()
    if not held.enter_context(request_slots().hold("answer")):
        raise Busy("too many other answers are being computed; ask again in a moment")
    response = Response(pieces, mimetype=media)
    response.call_on_close(held.close)
    return response


def pack(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same as gzip."""
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP)
    for piece in pieces:
        packed = packer.compress(piece)
        if packed:
            yield packed
    yield packer.flush()
