from __future__ import annotations

import struct
import tracemalloc
from contextlib import suppress

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.remote_write import Sent, pack, write_v1, write_v2

from nordiq_watch.errors import BodyTooLarge, RequestError, TooManyRecords
from nordiq_watch.ingest.formats.remote_write import read_remote_write
from nordiq_watch.ingest.formats.remote_write_v2 import read_remote_write_v2
from nordiq_watch.ingest.formats.series import MAX_LABELS, Series

# One series, written down by hand from the protobuf encoding: WriteRequest{timeseries{labels…, samples…}}.
LABEL = b"\x0a\x08__name__\x12\x02up"
SAMPLE = b"\x09" + struct.pack("<d", 1.5) + b"\x10\xe8\x07"  # 1.5 at 1000 ms
EXEMPLAR = b"\x1a\x02\x08\x01"  # field 3 of a series: not read
SERIES = b"\x0a" + bytes([len(LABEL)]) + LABEL + b"\x12" + bytes([len(SAMPLE)]) + SAMPLE + EXEMPLAR
METADATA = b"\x1a\x04\x12\x02up"  # field 3 of the request: not read
MESSAGE = b"\x0a" + bytes([len(SERIES)]) + SERIES + METADATA


def read(body: bytes, *, limit_bytes: int = 1_000_000, most: int = 1_000_000) -> list[Series]:
    return list(read_remote_write(body, limit_bytes=limit_bytes, most=most).series)


def field(tag: int, content: bytes) -> bytes:
    """A field with its length in front."""
    length, varint = len(content), bytearray()
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag, *varint, length]) + content


def test_a_message_by_the_letter_of_the_format() -> None:
    assert read(pack(MESSAGE)) == [Series({"__name__": "up"}, [(1.0, 1.5)])]


def test_an_empty_message_has_no_series() -> None:
    assert read(pack(b"")) == []


@pytest.mark.slow
def test_series_are_made_one_after_the_other() -> None:
    """All at once they were a hundred times the body: two bytes are an empty one."""
    body = pack(b"\x0a\x00" * 50_000)
    tracemalloc.start()
    try:
        sent = read_remote_write(body, limit_bytes=1_000_000, most=50_000)
        assert sum(1 for _ in sent.series) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_message_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    bomb = pack(b"\x00" * 5_000_000)
    with pytest.raises(BodyTooLarge, match="5000000 bytes unpacked"):
        read(bomb, limit_bytes=1_000_000)


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
        read(body)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_read_or_refused(body: bytes) -> None:
    for sent in (body, pack(body)):
        with suppress(RequestError, BodyTooLarge):
            read(sent, limit_bytes=10_000)


def test_a_message_is_read_alike_whole_and_in_pieces() -> None:
    """More series than one piece has, with fields of other kinds between them and a series longer than a piece."""
    long = field(0x0A, LABEL) + field(0x12, SAMPLE) * 8_000
    assert len(long) > 64 * 1024
    message = (MESSAGE + b"\x08\x01") * 2_500 + field(0x0A, long) + MESSAGE
    series = read(pack(message))
    assert len(series) == 2_502
    assert {tuple(one.samples) for one in series} == {((1.0, 1.5),), ((1.0, 1.5),) * 8_000}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x0a\x00" * 1_001, "1,000 series"),
        (METADATA * 1_001, "1,000 other fields"),
        (field(0x0A, b"\x12\x00" * 501) * 2, "1,000 samples"),
        (field(0x0A, b"\x0a\x00" * 7_000) * 3, "1,000 series with 20 labels each"),
        (field(0x0A, b"\x12\x00" * 500_000), "1,000 samples"),
    ],
    ids=["series", "other fields", "samples", "labels", "samples of one series"],
)
def test_a_message_with_too_much_in_it_is_refused(message: bytes, said: str) -> None:
    with pytest.raises(TooManyRecords, match=f"{said} .feeders.max_records"):
        read(pack(message), limit_bytes=2_000_000, most=1_000)


def test_a_label_that_is_not_utf_8_costs_its_series_alone() -> None:
    bad = field(0x0A, field(0x0A, LABEL.replace(b"up", b"\xc3\x28")) + field(0x12, SAMPLE))
    sent = read_remote_write(pack(MESSAGE + bad + MESSAGE), limit_bytes=100_000, most=100)
    assert (sent.passed_over, sent.reason, sent.samples) == (1, "a label of a series is not UTF-8", 2)
    assert [one.labels for one in sent.series] == [{"__name__": "up"}] * 2


def test_of_series_that_no_rule_wants_the_name_alone_is_read() -> None:
    sent = [
        Sent({"__name__": "known", "a": "1", "b": "2"}, [(1.0, 1.5)]),
        Sent({"__name__": "other", "a": "1", "b": "2"}, [(2.0, 1.5), (3.0, 1.5)]),
        Sent({"a": "no name"}, [(4.0, 1.5)]),
        Sent({"__name__": "other"}, histograms=1),
    ]
    for write, read in ((write_v1, read_remote_write), (write_v2, read_remote_write_v2)):
        batch = read(pack(write(sent)), limit_bytes=100_000, most=100, knows="known".__eq__)
        assert (batch.samples, batch.passed_over) == (4, 1)
        labels = [one.labels for one in batch.series]
        assert sorted(labels, key=repr) == [
            {"__name__": "known", "a": "1", "b": "2"},
            {"__name__": "other"},
            {"a": "no name"},
        ]


def test_native_histograms_are_passed_over_and_said() -> None:
    sent = read_remote_write(
        pack(write_v1([Sent({"__name__": "shape"}, histograms=1), Sent({"__name__": "up"}, [(1.0, 1.5)])])),
        limit_bytes=100_000,
        most=100,
    )
    assert (sent.passed_over, sent.reason) == (1, "a series has native histograms, which no rule reads")
    assert list(sent.series) == [Series({"__name__": "up"}, [(1.0, 1.5)])]


def test_series_with_too_many_labels_are_passed_over() -> None:
    many = field(0x0A, field(0x0A, LABEL) * (MAX_LABELS + 1))
    sent = read_remote_write(pack(many + MESSAGE), limit_bytes=100_000, most=100)
    assert (sent.passed_over, sent.reason) == (1, "a series has 101 labels; at most 100 are taken")
    assert [one.labels for one in sent.series] == [{"__name__": "up"}]
