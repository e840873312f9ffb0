from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.ingest.formats.collectd import read_collectd
from nordiq_watch.ingest.formats.series import Series, SeriesBatch

# As collectd 5.12 writes it.
TRAFFIC = (
    b'[{"values":[161608,30868],"dstypes":["derive","derive"],"dsnames":["rx","tx"],"time":1796006954.917,'
    b'"interval":1.000,"host":"web1","plugin":"interface","plugin_instance":"eth0","type":"if_octets",'
    b'"type_instance":""},{"values":[null],"dstypes":["gauge"],"dsnames":["value"],"time":1796006954.917,'
    b'"interval":1.000,"host":"web1","plugin":"swap","plugin_instance":"","type":"percent","type_instance":"used"}]'
)


def value_list(**changes: Any) -> dict[str, Any]:
    return {
        "values": [7],
        "dstypes": ["gauge"],
        "dsnames": ["value"],
        "time": 5.0,
        "interval": 1.0,
        "host": "web1",
        "plugin": "memory",
        "plugin_instance": "",
        "type": "memory",
        "type_instance": "free",
    } | changes


def read(*elements: Any, most: int = 100) -> SeriesBatch:
    return read_collectd(json.dumps(elements).encode(), most=most)


FREE = Series({"__name__": "memory_memory", "host": "web1", "type_instance": "free"}, [(5.0, 7.0)])


def test_what_collectd_writes_by_the_letter() -> None:
    sent = read_collectd(TRAFFIC, most=100)
    labels = {"host": "web1", "plugin_instance": "eth0"}
    assert (sent.samples, sent.passed_over) == (2, 0)
    assert list(sent.series) == [
        Series({**labels, "__name__": "interface_if_octets_rx"}, [(1796006954.917, 161608.0)]),
        Series({**labels, "__name__": "interface_if_octets_tx"}, [(1796006954.917, 30868.0)]),
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"labels": {"alertname": "x"}}, "no value list of collectd"),
        (7, "no value list of collectd"),
        (value_list(values=["7"]), "no value list of collectd"),
        (value_list(time=None), "no value list of collectd"),
        (value_list(values=[1, 2]), "2 values and 1 dsnames"),
        (value_list(dstypes=["derive"], values=[1.5]), "leave StoreRates false"),
        (value_list(host="x" * 300_000), "no value list of collectd"),
    ],
)
def test_a_bad_value_list_costs_itself(bad: Any, said: str) -> None:
    sent = read(value_list(), bad, value_list())
    assert (sent.passed_over, sent.samples) == (1, 2)
    assert said in sent.reason
    assert list(sent.series) == [FREE, FREE]


def test_a_gauge_may_have_fractions_and_a_counter_may_be_whole() -> None:
    sent = read(value_list(values=[1.5]), value_list(values=[2.0], dstypes=["derive"]))
    assert [one.samples for one in sent.series] == [[(5.0, 1.5)], [(5.0, 2.0)]]


def test_an_empty_list_has_no_series() -> None:
    assert list(read_collectd(b" [ ] ", most=100).series) == []


@pytest.mark.parametrize("body", [b"", b"{}", b"PUTVAL web1/load/load 1:2", b"[1,,2]", b"[", b'[{"values":', b"[]]"])
def test_what_is_no_list_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(RequestError, match='Format "JSON"'):
        list(read_collectd(body, most=100).series)


def test_a_body_with_too_much_in_it_is_refused() -> None:
    with pytest.raises(TooManyRecords):
        read(*[value_list()] * 11, most=10)
    with pytest.raises(TooManyRecords, match="10 values"):
        read(value_list(values=[1.0] * 6, dsnames=["a"] * 6), value_list(values=[1.0] * 6, dsnames=["a"] * 6), most=10)


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(lambda inner: b"[" + inner + b"]")))
def test_no_bytes_do_anything_but_be_read_or_refused(body: bytes) -> None:
    with suppress(RequestError):
        list(read_collectd(body, most=100).series)


@pytest.mark.parametrize("wrong", [b"\xff", b"mnt-\xe9t\xe9", rb"\ud800"])
@pytest.mark.parametrize("field", ["host", "plugin", "plugin_instance", "type", "type_instance"])
def test_a_value_list_with_a_text_that_is_not_utf_8_costs_itself(wrong: bytes, field: str) -> None:
    body = json.dumps([value_list(**{field: "BAD!"}), value_list()]).encode().replace(b"BAD!", wrong)
    sent = read_collectd(body, most=100)
    assert (sent.passed_over, list(sent.series)) == (1, [FREE])
    assert sent.reason == "a value list has a text that is not UTF-8"
