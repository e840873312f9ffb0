from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.remote_write import Sent, message_v2, pack, write_v1, write_v2

from nordiq_watch.errors import BodyTooLarge, RequestError, TooManyRecords
from nordiq_watch.ingest.formats.remote_write import read_remote_write
from nordiq_watch.ingest.formats.remote_write_v2 import read_remote_write_v2
from nordiq_watch.ingest.formats.series import MAX_LABELS, Series, SeriesBatch

UP = Sent({"__name__": "up", "instance": "web1:9100"}, [(1.0, 1.5), (2.5, 2.5)])


def read(message: bytes, *, limit_bytes: int = 10_000_000, most: int = 100_000) -> SeriesBatch:
    return read_remote_write_v2(pack(message), limit_bytes=limit_bytes, most=most)


def test_what_a_sender_of_the_published_messages_writes_is_read() -> None:
    sent = read(write_v2([UP, Sent({"__name__": "é.cpu"}, [(3.0, 4.0)])]))
    assert (sent.samples, sent.passed_over) == (3, 0)
    assert list(sent.series) == [Series(UP.labels, UP.samples), Series({"__name__": "é.cpu"}, [(3.0, 4.0)])]


@given(
    st.lists(
        st.builds(
            Sent,
            st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5),
            st.lists(st.tuples(st.integers(0, 2**40), st.floats(allow_nan=False)), max_size=4),
            st.integers(0, 1),
        ),
        max_size=20,
    )
)
def test_both_versions_say_the_same(series: list[Sent]) -> None:
    old = read_remote_write(pack(write_v1(series)), limit_bytes=10_000_000, most=1_000)
    new = read(write_v2(series))
    assert (old.samples, old.passed_over, old.reason) == (new.samples, new.passed_over, new.reason)
    assert list(old.series) == list(new.series)


def edited(change: Callable[[Any], None]) -> bytes:
    """Two series, the first of which is changed."""
    message = message_v2()
    message.ParseFromString(write_v2([UP, UP]))
    change(message)
    return bytes(message.SerializeToString())


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (edited(lambda request: request.timeseries[0].labels_refs.append(1)), "number of its labels_refs is odd"),
        (edited(lambda request: request.timeseries[0].labels_refs.extend([1, 99])), "beyond the 8 that there are"),
        (edited(lambda request: request.timeseries[0].labels_refs.extend([1, 2] * MAX_LABELS)), "102 labels"),
        (write_v2([Sent({"__name__": "shapes"}, histograms=2), UP]), "native histograms"),
        (write_v2([Sent({"__name__": "XX"}, [(1, 1)]), UP]).replace(b"XX", b"\xc3\x28"), "not UTF-8"),
    ],
    ids=["odd", "beyond", "labels", "histograms", "UTF-8"],
)
def test_a_bad_series_costs_itself(message: bytes, said: str) -> None:
    sent = read(message)
    assert (sent.passed_over, sent.samples) == (1, 2)
    assert said in sent.reason
    assert list(sent.series) == [Series(UP.labels, UP.samples)]


def test_a_bad_symbol_that_no_series_needs_costs_nothing() -> None:
    message = write_v2([UP]).replace(b"Some help.", b"Some \xc3\x28lp.")
    assert (read(message).passed_over, read(message).samples) == (0, 2)


def test_symbols_may_stand_anywhere_in_the_message() -> None:
    """Any order of fields is the same message, also more symbols and series than one piece has."""
    first, second = message_v2(), message_v2()
    whole = [Sent({"__name__": f"name{number}"}, [(1.0, number)]) for number in range(2_500)]
    second.ParseFromString(write_v2(whole))
    first.timeseries.extend(second.timeseries)
    del second.timeseries[:]
    sent = read(first.SerializeToString() + second.SerializeToString())
    assert [one.labels["__name__"] for one in sent.series] == [one.labels["__name__"] for one in whole]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (write_v1([UP]), "but one of 1.0: its Content-Type must not say 2.0"),
        (b"\xff" * 50, "no remote write 2.0 message"),
        (write_v2([UP])[:-3], "no remote write 2.0 message"),
    ],
)
def test_what_is_no_such_message_is_refused_in_one_line(message: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read(message)


def test_a_message_of_2_that_claims_to_be_of_1_is_refused_as_that() -> None:
    """It has no field that 1.0 knows: it would be an empty one."""
    with pytest.raises(RequestError, match=r"but one of 2\.0: its Content-Type has to say so"):
        read_remote_write(pack(write_v2([UP])), limit_bytes=10_000, most=100)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_read_or_refused(body: bytes) -> None:
    for sent in (body, pack(body)):
        with suppress(RequestError, BodyTooLarge):
            list(read_remote_write_v2(sent, limit_bytes=10_000, most=1_000).series)


def varint_field(tag: int, content: bytes) -> bytes:
    length, varint = len(content), bytearray()
    while length >= 0x80:
        varint.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([tag, *varint, length]) + content


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"\x2a\x00" * 1_001, "1,000 series"),
        (b"\x22\x00" * 2_001, "2,000 symbols"),
        (varint_field(0x2A, b"\x12\x00" * 501) * 2, "1,000 samples"),
        (varint_field(0x2A, varint_field(0x0A, b"\x01" * 14_000)) * 3, "1,000 series with 20 labels each"),
        (varint_field(0x2A, b"\x12\x00" * 500_000), "1,000 samples"),
    ],
    ids=["series", "symbols", "samples", "labels", "samples of one series"],
)
def test_a_message_with_too_much_in_it_is_refused(message: bytes, said: str) -> None:
    with pytest.raises(TooManyRecords, match=f"{said} .feeders.max_records"):
        read(message, most=1_000)


@pytest.mark.slow
def test_series_are_made_one_after_the_other() -> None:
    body = pack(b"\x22\x02up" + b"\x2a\x00" * 50_000)
    tracemalloc.start()
    try:
        sent = read_remote_write_v2(body, limit_bytes=1_000_000, most=50_000)
        assert sum(1 for _ in sent.series) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
