"""Lists cut into pieces: the same elements as a parser finds, whatever stands in them and around them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nordiq_watch.errors import RequestError, TooManyRecords
from nordiq_watch.json_lists import lists, plain, scan
from nordiq_watch.json_lists.lenient import read_json
from nordiq_watch.json_lists.lists import FieldMissing, find_list
from nordiq_watch.json_lists.plain import cut_plainly

pytestmark = pytest.mark.slow

MOST = 1_000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats()
    | st.text(st.sampled_from('\\"[]{},: aé\u2028'), max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\[]{},a', max_size=4), inner, max_size=4),
    max_leaves=12,
)


def elements_of(body: bytes, *, most: int = MOST, key: str = "records") -> list[Any]:
    found = find_list(body, key, most=most, expected="send a list")
    elements: list[Any] = []
    for piece in found.pieces():
        assert piece.first == len(elements)
        elements += piece.parse("send a list")
    assert len(found) == len(elements)
    return elements


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lists, scan):
        monkeypatch.setattr(module, "PIECE_BYTES", 64)
    monkeypatch.setattr(plain, "_PLAIN_BYTES", 16)


@given(st.lists(JSON, max_size=20), st.dictionaries(st.text(max_size=3), JSON, max_size=3), st.booleans())
def test_the_elements_are_those_that_a_parser_finds(
    records: list[Any], others: dict[str, Any], ascii_only: bool
) -> None:
    others.pop("records", None)
    body = json.dumps(others | {"records": records} | {"z": [1, {}]}, ensure_ascii=ascii_only).encode()
    assert repr(elements_of(body)) == repr(json.loads(body)["records"])


@given(st.lists(JSON.filter(lambda value: len(json.dumps(value)) < 50), max_size=40), st.sampled_from([None, 1]))
def test_so_are_they_in_many_small_pieces_and_blocks(records: list[Any], indent: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (lists, scan):
            patch.setattr(module, "PIECE_BYTES", 64)
        body = json.dumps({"records": records}).encode()
        found = find_list(body, "records", most=MOST, expected="")
        texts = [piece.text for piece in found.pieces() if piece.text is not None]
    whole = [json.dumps(json.loads(body)["records"])] if records else []
    assert [json.dumps([one for text in texts for one in json.loads(text)])] == (whole or ["[]"])


def test_no_piece_of_a_large_body_is_longer_than_about_a_megabyte() -> None:
    """A parser reads a piece without a pause: one full of long numbers takes 30 ms a megabyte."""
    body = json.dumps({"records": [{"timestamp": 10**4199}] * 3000}).encode()
    pieces = cut_plainly(body, "records")
    assert pieces is not None
    assert max(len(piece) for piece in pieces) < 1.1 * 2**20


@pytest.mark.slow
@given(
    st.lists(st.dictionaries(st.text('"\\}, {a', max_size=4), st.text('"\\}, {a', max_size=9), max_size=4), max_size=40)
)
def test_guessed_cuts_that_can_be_parsed_are_cuts(records: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_PLAIN_BYTES", 16)
        pieces = cut_plainly(json.dumps({"records": records}).encode(), "records")
        assert pieces is not None
        found: list[Any] = []
        for piece in pieces:
            try:
                found += json.loads(bytes(piece))
            except ValueError:
                return  # it is scanned then
    assert found == records


@pytest.mark.parametrize(
    "body",
    [
        b'{"records": [1], "more": 2}',
        b'{"more": 2, "records": [1]}',
        b'{"records": [1]',
        b'{"records": 1}',
        b'["records", 1]',
        b'\xef\xbb\xbf{"records": [1]}',
    ],
)
def test_a_body_of_another_form_is_not_cut_by_guessing(body: bytes) -> None:
    assert cut_plainly(body, "records") is None


@example(b'{"records": [1], "records": [2]}')
@given(st.binary(max_size=60) | st.text('{}[],:"\\ records1', max_size=60).map(lambda text: text.encode()))
def test_bytes_are_a_list_exactly_if_a_parser_says_so(body: bytes) -> None:
    try:
        expected = read_json(body, "")["records"]
        assert isinstance(expected, list)
    except (RequestError, TypeError, KeyError, IndexError, AssertionError):
        with pytest.raises(RequestError):
            elements_of(body)
    else:
        names = json.loads(body, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
        stands_once = names.count("records") == 1
        with nullcontext() if stands_once else pytest.raises(RequestError, match="2 times"):
            assert elements_of(body) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"records": [1], "records": [2]}', "the field `records` 2 times"),
        (b'{"records": [1], "r\\u0065cords": 2}', "the field `records` 2 times"),
        (b'{"records": [1,]}', "not JSON"),
        (b'{"records": [1}, "a": 2]', "not JSON"),
        (b'{"records": [,1]}', "not JSON"),
        (b'{"records": [1]}}', "brackets that nothing opened"),
        (b'{"records": [1]} x', "not JSON"),
        (b'{"records": [1] "a"}', "not JSON"),
        (b'{"records": ["' + b"\\" * 7, "not JSON"),
        (b'{"records": [' + b"[" * 1_000_000, "nested too deep"),
        (b'{"records": [' + b"1" * 1_000_000, "ends too early"),
        (b'{"a": "' + b"x" * 300_000 + b'"}', "bytes that are in no list"),
        (b"{" + b'"a": {},' * 2_000 + b'"records": [1]}', "more than 1000 lists and objects"),
    ],
)
def test_what_is_no_object_with_one_list_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        elements_of(body)


def test_the_field_that_is_missing_is_told_from_other_mistakes() -> None:
    with pytest.raises(FieldMissing, match="no field `records`"):
        elements_of(b'{"metrics": [1]}')


def test_a_list_is_bounded_before_its_elements_are_made() -> None:
    assert len(elements_of(b'{"records": [' + b"0," * (MOST - 1) + b"0]}")) == MOST
    with pytest.raises(TooManyRecords, match=r"1,000 records .feeders.max_records"):
        elements_of(b'{"records": [' + b"0," * MOST + b"0]}")


def test_an_element_that_is_too_long_is_told_and_not_parsed() -> None:
    long = b'"' + b"x" * scan.PIECE_BYTES + b'"'
    pieces = list(find_list(b'{"records": [1,' + long + b",2]}", "records", most=MOST, expected="").pieces())
    assert [(piece.first, piece.count, piece.text) for piece in pieces] == [
        (0, 1, b"[1]"),
        (1, 1, None),
        (2, 1, b"[2]"),
    ]
    assert pieces[1].size_bytes == len(long)
