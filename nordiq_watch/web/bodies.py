"""Request bodies, bounded before and after decompression."""

from __future__ import annotations

import zlib

from flask import current_app, request
from werkzeug.exceptions import UnsupportedMediaType

from nordiq_watch.errors import BodyTooLarge, Busy, RequestError
from nordiq_watch.records.admission import BODY_LEFT_OUT

_GZIP = 16 + zlib.MAX_WBITS


def read_packed() -> bytes:
    """The request's body as received. Raises BodyTooLarge above the limit.

    Read in one call: the server already has the whole body and states its length, even for chunked ones.
    `request.get_data` would gather it in pieces of 64 KB, which costs as much again as receiving it.
    """
    check_body_is_there()
    length = request.content_length or 0
    if length > limit_bytes():
        raise _too_large()
    body: bytes = request.environ["wsgi.input"].read(length)
    return body


def read_body() -> bytes:
    """The request's body, unpacked if packed. Raises BodyTooLarge, and RequestError if the packing is broken."""
    packed = read_packed()
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return packed
    if encoding in ("gzip", "x-gzip"):
        return _unpack(packed, "gzip", _GZIP)
    if encoding == "deflate":
        return _unpack(packed, encoding, zlib.MAX_WBITS)
    raise UnsupportedMediaType("Content-Encoding must be gzip, deflate or absent.")


def _unpack(packed: bytes, name: str, window_bits: int) -> bytes:
    """Never holds more than one byte above the limit, whatever the body claims."""
    limit = limit_bytes()
    unpacker = zlib.decompressobj(window_bits)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error:
        raise RequestError(f"Content-Encoding says {name}, but the body is not") from None
    if len(body) > limit:
        raise _too_large()
    if not unpacker.eof or unpacker.unused_data:
        raise RequestError(f"the {name} body is cut off, or followed by something else")
    return body


def check_body_is_there() -> None:
    """Raises BodyTooLarge or Busy if the server left the body out: it must not count as an empty one."""
    left_out = request.environ.get(BODY_LEFT_OUT)
    if left_out == "too_large":
        raise _too_large()
    if left_out is not None:
        raise Busy("there was no room for this body; send it again in a moment")


def limit_bytes() -> int:
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    assert isinstance(limit, int)  # create_app sets it
    return limit


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(
        f"bodies may have {limit_bytes()} bytes (server.max_body_mb), also unpacked. Send smaller batches."
    )
