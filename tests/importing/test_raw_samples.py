"""What a Prometheus answers is read as json and float would read it."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.importing.raw_samples import RawSamples, read_matrix

WRITTEN = st.one_of(
    st.floats().map(repr),
    st.floats().map(lambda value: f"{value:g}"),
    st.sampled_from(["NaN", "+Inf", "-Inf", "0", "1e+06", "-1.5e-07", "123456789012345678", "1e400", "5e-324"]),
)
MOMENTS = st.integers(0, 4 * 10**12).map(lambda milliseconds: milliseconds / 1000)
SERIES = st.tuples(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    st.lists(st.tuples(MOMENTS, WRITTEN), max_size=4),
)


def body_of(series: list[tuple[dict[str, str], list[tuple[float, str]]]], *, spaces: bool = False) -> bytes:
    result = [{"metric": labels, "values": values} for labels, values in series]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    return json.dumps(answer, separators=None if spaces else (",", ":")).encode()


def shown(found: RawSamples) -> list[str]:
    return [repr(pair) for pair in zip(found.times.tolist(), found.values.tolist(), strict=True)]


@given(st.lists(SERIES, max_size=4), st.booleans())
def test_numbers_are_those_that_were_written(
    series: list[tuple[dict[str, str], list[tuple[float, str]]]], spaces: bool
) -> None:
    kind, found = read_matrix(body_of(series, spaces=spaces))
    assert (kind, list(found.labels)) == ("matrix", [labels for labels, _ in series])
    assert found.counts.tolist() == [len(samples) for _, samples in series]
    assert shown(found) == [repr((at, float(value))) for _, samples in series for at, value in samples]


@pytest.mark.parametrize("value", ["1_0", " 7", "infinity", "1,5", "[1"])
def test_texts_that_no_server_writes_are_read_as_python_reads_them_or_not_at_all(value: str) -> None:
    body = body_of([({}, [(1.0, "2"), (3.0, value)])])
    try:
        wanted = float(value)
    except ValueError:
        with pytest.raises(ValueError, match="could not convert"):
            read_matrix(body)
    else:
        assert read_matrix(body)[1].values.tolist() == [2.0, wanted]


def test_series_without_samples_of_this_kind_have_none() -> None:
    body = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "histograms": [[1, {}]]}]}}
    _, found = read_matrix(json.dumps(body).encode())
    assert (found.counts.tolist(), len(found.times)) == ([0], 0)


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"status":"success","data":{"result":[]}}', b'{"status":"error"}']
)
def test_other_bodies_are_no_answers(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        read_matrix(body)


def test_a_selection_of_samples_leaves_every_series() -> None:
    _, found = read_matrix(body_of([({"a": "1"}, [(1.0, "1"), (2.0, "NaN")]), ({"a": "2"}, [(3.0, "3")])]))
    some = found.select(found.times < 3)
    assert (list(some.labels), some.counts.tolist(), some.times.tolist()) == (list(found.labels), [2, 0], [1.0, 2.0])
    assert math.isnan(some.values[1])
