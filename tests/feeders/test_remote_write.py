from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.errors import BodyTooLarge, RequestError
from nordiq_watch.feeders.remote_write import read_remote_write
from nordiq_watch.feeders.series import Series

# One series, written down by hand from the protobuf encoding: WriteRequest{timeseries{labels…, samples…}}.
LABEL = b"\x0a\x08__name__\x12\x02up"
SAMPLE = b"\x09" + struct.pack("<d", 1.5) + b"\x10\xe8\x07"  # 1.5 at 1000 ms
EXEMPLAR = b"\x1a\x02\x08\x01"  # field 3 of a series: not read
SERIES = b"\x0a" + bytes([len(LABEL)]) + LABEL + b"\x12" + bytes([len(SAMPLE)]) + SAMPLE + EXEMPLAR
METADATA = b"\x1a\x04\x12\x02up"  # field 3 of the request: not read
MESSAGE = b"\x0a" + bytes([len(SERIES)]) + SERIES + METADATA


def pack(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


def test_a_message_by_the_letter_of_the_format() -> None:
    assert list(read_remote_write(pack(MESSAGE), limit_bytes=1000)) == [Series({"__name__": "up"}, [(1.0, 1.5)])]


def test_an_empty_message_has_no_series() -> None:
    assert list(read_remote_write(pack(b""), limit_bytes=1000)) == []


def test_series_are_made_one_after_the_other() -> None:
    """All at once they were a hundred times the body: two bytes are an empty one."""
    body = pack(b"\x0a\x00" * 200_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_remote_write(body, limit_bytes=1_000_000)) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_message_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = pack(b"\x00" * 5_000_000)
    with pytest.raises(BodyTooLarge, match="5000000 bytes unpacked"):
        read_remote_write(bomb, limit_bytes=1_000_000)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "snappy"),
        (b"plain", "snappy"),
        (pack(MESSAGE)[:-3], "snappy"),
        (bytes(cramjam.snappy.compress(MESSAGE)), "snappy"),  # the framed format
        (pack(MESSAGE[:-3]), "protobuf"),
        (pack(b"\xff" * 50), "protobuf"),
    ],
)
def test_what_is_no_remote_write_is_refused_in_one_line(body: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_remote_write(body, limit_bytes=1_000_000)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_read_or_refused(body: bytes) -> None:
    for sent in (body, pack(body)):
        with suppress(RequestError, BodyTooLarge):
            list(read_remote_write(sent, limit_bytes=10_000))
