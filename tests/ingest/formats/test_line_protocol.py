from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point

from nordiq_watch.errors import TooManyRecords
from nordiq_watch.ingest.formats.line_protocol import MAX_LINE_BYTES, PRECISIONS, BadLines, read_lines
from nordiq_watch.ingest.formats.series import Series

NOW = 1_700_000_000.0


def read(text: str | bytes, *, precision: str = "s", most: int = 100_000) -> tuple[list[Series], BadLines]:
    bad = BadLines()
    body = text.encode() if isinstance(text, str) else text
    return list(read_lines(body, bad, precision=precision, now=NOW, most=most)), bad


def shown(text: str | bytes, **options: Any) -> list[tuple[dict[str, str], float, float]]:
    series, bad = read(text, **options)
    assert bad.first is None
    return [(dict(one.labels), at, value) for one in series for at, value in one.samples]


def test_each_numeric_field_is_a_series() -> None:
    line = 'cpu,cpu=cpu-total,host=web1 usage_user=38.2,usage_idle=5i,n=7u,ok=true,what="a text" 1000'
    tags = {"cpu": "cpu-total", "host": "web1"}
    assert shown(line) == [
        ({"__name__": "cpu_usage_user", **tags}, 1000.0, 38.2),
        ({"__name__": "cpu_usage_idle", **tags}, 1000.0, 5.0),
        ({"__name__": "cpu_n", **tags}, 1000.0, 7.0),
    ]


@pytest.mark.parametrize(
    ("line", "name", "labels"),
    [
        (r"my\ disk,path=/a\ b x=1", "my disk_x", {"path": "/a b"}),
        (r"a\,b=c,k\=1=v\=2\,3 x\ y=1", "a,b=c_x y", {"k=1": "v=2,3"}),
        (r"m,dir=C:\Temp\new x=1", "m_x", {"dir": r"C:\Temp\new"}),
        (r"m,back=a\\ x=1", "m_x", {"back": "a\\\\"}),
        ("größe,tägg=ü x=1", "größe_x", {"tägg": "ü"}),
        ('m,quote="a x=1', "m_x", {"quote": '"a'}),
        ("m\tn,a=\t x=1", "m\tn_x", {"a": "\t"}),
    ],
)
def test_names_and_tags_are_escaped_by_backslashes(line: str, name: str, labels: dict[str, str]) -> None:
    assert shown(line) == [({"__name__": name, **labels}, NOW, 1.0)]


@pytest.mark.parametrize("text", [r"a \" b", r"ends with \\", ", x=2 3", "two\nlines", "", "#", r"\\\""])
def test_texts_may_hold_anything(text: str) -> None:
    assert [value for _, _, value in shown(f'm a=1,s="{text}",b=2 9\nm c=3')] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-1.5", -1.5), ("1.", 1), (".5", 0.5), ("+2", 2), ("1e3", 1000), ("-1.5E-2", -0.015), ("-3i", -3)],
)
def test_numbers(text: str, value: float) -> None:
    assert [found for _, _, found in shown(f"m x={text}")] == [value]


@pytest.mark.parametrize("text", ["t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"])
def test_truth_values_are_no_numbers(text: str) -> None:
    assert shown(f"m x={text}") == []


@pytest.mark.parametrize("end", ["", "\n", "\r\n", " \n", "\n\n", "\n# the end", "\n   "])
def test_ends_of_lines(end: str) -> None:
    assert [(at, value) for _, at, value in shown(f"# first\n\n  m a=1 10\r\nm  a=2   20{end}")] == [(10, 1), (20, 2)]


def test_times() -> None:
    assert [at for _, at, _ in shown("m a=1 -5\nm a=1\nm a=1 0")] == [-5.0, NOW, 0.0]


@pytest.mark.parametrize(
    ("precision", "time"),
    [("", 2_000_000_000), ("ns", 2_000_000_000), ("us", 2_000_000), ("µs", 2_000_000), ("u", 2_000_000), ("ms", 2_000)],
)
def test_precisions(precision: str, time: int) -> None:
    assert [at for _, at, _ in shown(f"m a=1 {time}", precision=precision)] == [pytest.approx(2.0)]
    assert {"s", "m", "h"} <= set(PRECISIONS)
    assert [at for _, at, _ in shown("m a=1 2", precision="h")] == [7200.0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "no fields"),
        ("m,t=v", "no fields"),
        ("m,t x=1", "a tag without a value"),
        ("m,t= x=1", "a tag without a value"),
        (",t=v x=1", "no measurement"),
        ("m x", "a field is no name=value"),
        ("m x=", "a field is no name=value"),
        ("m x=1,", "a field is no name=value"),
        ("m x=1 soon", "the time is no whole number"),
        ("m x=1 1.5", "the time is no whole number"),
        ("m x=1 99999999999999999999", "the time is no whole number"),
        ("m x=many", "'many' is no number"),
        ("m x=nano", "'nano' is no number"),
        ("m x=1_000", "'1_000' is no number"),
        ("m x=1.5i", "'1.5i' is no number"),
        ('m x="open', "a text lacks its last quote"),
        ('m x="a"b', "a text lacks its last quote"),
        ("m," + ",".join(f"t{number}=v" for number in range(101)) + " x=1", "101 tags"),
        ("m x=" + "1" * MAX_LINE_BYTES, "65,536 bytes"),
    ],
)
def test_a_bad_line_costs_itself_and_is_named_with_its_number(line: str, reason: str) -> None:
    series, bad = read(f"m a=1\n\n# comment\n{line}\nm b=2\n")
    assert [one.labels["__name__"] for one in series] == ["m_a", "m_b"] or '"' in line
    assert series[0].labels["__name__"] == "m_a"
    assert bad.first is not None
    assert bad.first[0] == 4
    assert reason in bad.first[1]


@pytest.mark.parametrize("value", ["NaN", "nan", "inf", "+Inf", "-Infinity"])
def test_a_number_that_is_not_finite_leaves_the_rest_of_its_line(value: str) -> None:
    series, bad = read(f"m a=1,b={value},c=3\n")
    assert [(one.labels["__name__"], math.isfinite(one.samples[0][1])) for one in series] == [
        ("m_a", True),
        ("m_b", False),
        ("m_c", True),
    ]
    assert bad.total == 0


def test_a_line_that_is_not_utf_8_costs_itself() -> None:
    series, bad = read(b"m a=1\nm,t=\xff\xfe a=2\nm a=3")
    assert [value for one in series for _, value in one.samples] == [1.0, 3.0]
    assert bad.first == (2, "it is not UTF-8")


def test_a_line_has_a_number_even_behind_a_text_with_line_ends() -> None:
    _, bad = read('m s="a\nb\nc",x=1\nbad\n')
    assert bad.first is not None
    assert (bad.first[0], bad.total) == (4, 1)


def test_more_lines_or_fields_than_allowed_are_refused() -> None:
    assert len(read("m a=1\n" * 10, most=10)[0]) == 10
    with pytest.raises(TooManyRecords, match="10 lines"):
        read("m a=1\n" * 11, most=10)
    assert len(read("m," + "t=v,u=v a=1,b=2\n" * 1, most=2)[0]) == 2
    with pytest.raises(TooManyRecords, match="2 fields"):
        read("m,t=v a=1,b=2,c=3\n", most=2)


names = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\\"), min_size=1, max_size=12)
values = st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), names)


@given(
    names.filter(lambda name: not name.startswith(("#", " "))),
    st.dictionaries(names, names, max_size=4),
    st.dictionaries(names, values, min_size=1, max_size=4),
    st.integers(-(10**12), 10**12),
)
def test_what_the_official_client_writes_is_read(
    measurement: str, tags: dict[str, str], fields: dict[str, Any], time: int
) -> None:
    point = Point(measurement).time(time, "s")  # type: ignore[no-untyped-call]
    for name, text in tags.items():
        point.tag(name, text)
    for name, value in fields.items():
        point.field(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = point.to_line_protocol()
    expected = {
        f"{measurement}_{name}": float(value) for name, value in fields.items() if not isinstance(value, str | bool)
    }
    found = shown(f"before x=1\n{written}\nafter x=1", precision="s")
    assert [found[0][0]["__name__"], found[-1][0]["__name__"]] == ["before_x", "after_x"]
    inner = found[1:-1]
    assert {labels.pop("__name__"): value for labels, _, value in inner} == expected
    assert all(labels == tags and at == time for labels, at, _ in inner)
    assert all(math.isfinite(value) for _, _, value in inner)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    series, bad = read(body)
    assert len(series) >= 0
    assert bad.total >= 0


@given(st.lists(st.sampled_from(["m", ",", "=", " ", '"', "\\", "\n", "1", "i", "#", "t", "\r"]), max_size=40))
def test_no_line_is_lost_in_silence(pieces: list[str]) -> None:
    """Behind anything without a quote, the last line is read."""
    text = "".join(pieces).replace('"', "")
    series, _ = read(f"{text}\nlast x=42\n")
    assert [value for one in series for _, value in one.samples][-1:] == [42.0]
