"""The fields of a protobuf message, found without parsing it: https://protobuf.dev/programming-guides/encoding/."""

from __future__ import annotations

from nordiq_watch.errors import RequestError

_VARINT, WITH_LENGTH = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BITS = 70


class Unreadable(RequestError):
    """The bytes are no protobuf message."""


def read_varint(message: bytes, position: int) -> tuple[int, int]:
    """The number at an offset, and the offset behind it."""
    value = shift = 0
    while position < len(message) and shift < _VARINT_BITS:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise Unreadable("a number of the message has no end")


def skip_field(message: bytes, tag: int, position: int) -> int:
    """The offset behind a field whose tag has been read."""
    kind = tag & 7
    if kind == _VARINT:
        return read_varint(message, position)[1]
    if kind == WITH_LENGTH:
        length, position = read_varint(message, position)
        return position + length
    if kind in _FIXED_BYTES:
        return position + _FIXED_BYTES[kind]
    raise Unreadable(f"the message has a field of the unknown kind {kind}")
