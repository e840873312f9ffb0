"""What the native scanner accepts is what the reader in Python makes of it, to the last bit."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.feed_records import NOW, RULES, record

from nordiq_watch.errors import RequestError
from nordiq_watch.ingest import feed_scanner
from nordiq_watch.ingest.feed_scanner import FeedScanner, load_scanner
from nordiq_watch.ingest.samples import FeedReader, ParsedFeed

KERNEL = os.environ.get("NORDIQ_TEST_SCANNER")
"""A directory with another build of the scanner, such as one with sanitizers."""

LIBRARIES = load_scanner(Path(KERNEL)) if KERNEL else load_scanner()

pytestmark = pytest.mark.skipif(LIBRARIES is None, reason="the native scanner is not built here")


@pytest.fixture
def scanner() -> FeedScanner:
    return scanner_of(RULES.metrics)


def scanner_of(metrics: Sequence[str]) -> FeedScanner:
    assert LIBRARIES is not None  # else the file is skipped
    return FeedScanner(metrics, LIBRARIES)


def feed_of(body: bytes, *, scans: bool) -> ParsedFeed | str:
    """The answer to a body, or the words of its refusal."""
    reader = FeedReader(RULES.metrics, scans=False)
    if scans:
        reader._scanner = scanner_of(RULES.metrics)
    try:
        return reader.read(body, RULES, now=NOW)
    except RequestError as error:
        return str(error)


def check_both_ways(body: bytes) -> None:
    scanned, read = feed_of(body, scans=True), feed_of(body, scans=False)
    if isinstance(scanned, str) or isinstance(read, str):
        assert scanned == read
        return
    assert (scanned.batch is None) == (read.batch is None)
    for name in ("received", "rejected", "clipped", "unknown_fields", "indices", "unnamed", "not_looked_at"):
        assert getattr(scanned, name) == getattr(read, name), name
    if scanned.batch is not None and read.batch is not None:
        assert (scanned.batch.servers, scanned.batch.profiles) == (read.batch.servers, read.batch.profiles)
        for name in ("rows", "slots", "statuses", "values"):
            ours, theirs = getattr(scanned.batch, name), getattr(read.batch, name)
            assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes()), name


# --- plain bodies ---


def test_what_collectors_send_is_scanned(scanner: FeedScanner) -> None:
    records = [
        record(server_name="ppdb001", status="healthy", load_average=3),
        record(server_name="ÿ日本", status="idle", profile="Database", mem_used_pct=None),
        record(server_name="ppdb003", timestamp=NOW - 1.5, status=None, cpu_user_pct=104),
        record(server_name="ppdb001", timestamp=int(NOW), profile="Database"),
    ]
    for body in (json.dumps({"records": records}), json.dumps({"records": records}, ensure_ascii=False, indent=1)):
        check_both_ways(body.encode())
    columns = scanner.scan(json.dumps({"records": records}, ensure_ascii=False).encode(), most=4)
    assert columns is not None
    assert columns.names == ["ppdb001", "ÿ日本", "ppdb003", "ppdb001"]
    assert columns.timestamps.expand() == ["2025-01-15T10:00:00", "2025-01-15T10:00:00", NOW - 1.5, int(NOW)]
    assert columns.statuses.expand() == ["healthy", "idle", None, None]
    assert columns.profiles.expand() == [None, "Database", None, "Database"]
    nan = np.nan
    np.testing.assert_array_equal(columns.values, [[25.3, nan, 3], [25.3, nan, nan], [104, nan, nan], [25.3, nan, nan]])
    assert columns.sound is not None
    np.testing.assert_array_equal(columns.sound.values, columns.values.astype(np.float32).clip(max=100))
    assert columns.sound.clips.tolist() == [[0, 0], [0, 0], [0, 1], [0, 0]]


def test_records_of_very_different_lengths_find_room(scanner: FeedScanner) -> None:
    records = [record(server_name="a" * 4_000), *(record(server_name=str(number)) for number in range(500))]
    body = json.dumps({"records": records}).encode()
    columns = scanner.scan(body, most=501)
    assert columns is not None
    assert columns.names == [sent["server_name"] for sent in records]
    assert scanner.scan(body, most=500) is None


def test_large_bodies_with_many_different_times_are_scanned(scanner: FeedScanner) -> None:
    records = [record(server_name=f"s{number}", timestamp=NOW - number / 100) for number in range(3_000)]
    body = json.dumps({"records": records}).encode()
    columns = scanner.scan(body, most=3_000)
    assert columns is not None
    assert columns.timestamps.expand() == [sent["timestamp"] for sent in records]
    check_both_ways(body)


@given(st.lists(st.floats(min_value=0, max_value=1e12) | st.integers(0, 10**18), min_size=1, max_size=20))
def test_numbers_are_read_to_the_last_bit(numbers: list[float]) -> None:
    body = json.dumps({"records": [record(load_average=number) for number in numbers]}).encode()
    columns = scanner_of(RULES.metrics).scan(body, most=20)
    assert columns is not None
    column = RULES.metrics.index("load_average")
    assert columns.values[:, column].tolist() == [float(number) for number in numbers]


# --- any bodies ---

TEXTS = st.sampled_from(
    [
        *('"2025-01-15T10:00:00"', '"2025-01-15T10:04:59Z"', '"a"', '"ppdb001"', '"healthy"', '""', '"\\u0061"'),
        *('"\\n"', '"tab\there"', '"ÿ"', '"日本"', '" a "', '"current"', '"\\ud800"', '"\u200b"', '"open'),
        f'"{"x" * 300}"',
    ]
)
NUMBERS = st.sampled_from(
    [
        *("0", "-0", "-0.0", "1", "25.3", "104", "110.5", "1e2", "1E+1", "1e-3", "1e999", "1e-999", "0.1e", "01", "1."),
        *(".5", "+1", "NaN", "Infinity", "-Infinity", "nan", "0x10", "0.30000000000000004", "99.99999999999999999999"),
        *("12345678901234567890123", "9007199254740993", "-1", "1_0", "1 0", str(NOW), str(int(NOW)), "1736935200.5"),
    ]
)
OTHERS = st.sampled_from(["null", "true", "[]", "{}", "[1]", '{"a": 1}', "nul", ""])
KEYS = st.sampled_from(
    [
        *("timestamp", "server_name", "status", "profile", "cpu_user_pct", "mem_used_pct", "load_average", "odd"),
        *("cpu\\u005fuser_pct", "cpu_user_pct ", ""),
    ]
)
VALUES = TEXTS | NUMBERS | OTHERS | st.floats().map(repr) | st.integers().map(str)
SOUND = [("timestamp", '"2025-01-15T10:00:00"'), ("server_name", '"a"'), ("cpu_user_pct", "25.3")]
RECORDS = st.builds(
    lambda base, more: "{" + ", ".join(f'"{key}": {value}' for key, value in [*base, *more]) + "}",
    st.sampled_from([SOUND, SOUND[:2], SOUND[1:], SOUND[::-1]]),
    st.lists(st.tuples(KEYS, VALUES), max_size=3),
)
BODIES = st.lists(RECORDS, max_size=4).map(lambda records: '{"records": [' + ", ".join(records) + "]}")


@given(BODIES)
@example('{"records": []}')
@example('{"records": [{"timestamp": 1736935200, "server_name": "a", "cpu_user_pct": 1, "cpu_user_pct": 2}]}')
def test_any_body_comes_to_the_same_both_ways(body: str) -> None:
    check_both_ways(body.encode("utf-8", "surrogatepass"))


@given(BODIES, st.data())
def test_a_damaged_body_comes_to_the_same_both_ways(body: str, data: st.DataObject) -> None:
    whole = body.encode()
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, min(len(whole), begin + 3)))
    put = data.draw(st.binary(max_size=2) | st.sampled_from([b"}", b"]", b'"', b",", b"{", b":", b" ", b"\\", b"\n"]))
    check_both_ways(whole[:begin] + put + whole[end:])


@pytest.mark.parametrize("length", range(1, 130))
def test_a_body_that_ends_early_is_no_plain_one(scanner: FeedScanner, length: int) -> None:
    body = json.dumps({"records": [record(status="idle", load_average=1.25, profile=None)]}).encode()
    assert scanner.scan(body, most=1) is not None
    assert scanner.scan(body[:length], most=1) is None


def test_a_metric_may_have_any_name() -> None:
    metrics = ("class", "größe_pct")
    body = json.dumps({"records": [record() | {"class": 2, "größe_pct": 3}]}, ensure_ascii=False).encode()
    without_default = body.replace(b', "cpu_user_pct": 25.3', b"")
    columns = scanner_of(metrics).scan(without_default, most=1)
    assert columns is not None
    assert columns.values.tolist() == [[2.0, 3.0]]


# --- the library ---


def test_without_a_library_msgspec_reads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert load_scanner(tmp_path) is None
    assert "feeds are read by msgspec" in caplog.text


def test_a_library_of_another_version_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Path(KERNEL) if KERNEL else feed_scanner.DIRECTORY
    (library,) = built.glob("_native*.so")
    shutil.copy(library, tmp_path)
    monkeypatch.setattr(feed_scanner, "_VERSION", feed_scanner._VERSION + 1)
    assert load_scanner(tmp_path) is None
    assert "built from another version of ingest/kernel" in caplog.text


def test_a_file_that_is_no_library_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "_native.so").write_bytes(b"no library")
    assert load_scanner(tmp_path) is None
    assert "the native scanner cannot be loaded" in caplog.text
