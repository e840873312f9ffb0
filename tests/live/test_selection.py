"""Every filter and page of an answer's arrays is what filtering the whole answer's dictionaries gives."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import make_columns
from support.eager_answer import Entry, describe_servers
from support.random_fleets import LABELS, METRICS, PROFILES, fleets

from nordiq_watch.live.columns import FleetColumns
from nordiq_watch.live.entries import DISPLAY_METRICS, FIELDS, METRIC_FIELDS, Detail
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.selection import Cursor, Selection, turn_to


def subsets(names: Any) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from(names))


def labels_wanted() -> st.SearchStrategy[tuple[tuple[str, frozenset[str]], ...]]:
    values = {value for labels in LABELS for value in labels.values()} | {"nothing"}
    wanted = st.dictionaries(st.sampled_from(["team", "env", "none"]), st.frozensets(st.sampled_from(sorted(values))))
    return st.just(()) | wanted.map(lambda one: tuple(sorted(one.items())))


@st.composite
def narrowed(draw: st.DrawFn) -> tuple[FleetColumns, Selection]:
    columns = draw(fleets())
    some = st.sampled_from([*columns.servers[:20], "nobody"])
    return columns, Selection(
        servers=draw(st.none() | st.frozensets(some)),
        profiles=draw(subsets(PROFILES)),
        labels=draw(labels_wanted()),
        min_risk=draw(st.none() | st.floats(0, 100).map(lambda score: round(score, 1))),
        detail=Detail(metrics=draw(subsets(METRICS)), fields=draw(st.frozensets(st.sampled_from(FIELDS), min_size=1))),
    )


def select_eagerly(columns: FleetColumns, selection: Selection) -> dict[str, Entry]:
    """From the dictionaries of the whole answer, one server at a time."""
    return {
        name: cut_eagerly(entry, selection.detail)
        for name, entry in describe_servers(columns).items()
        if (selection.servers is None or name in selection.servers)
        and (selection.profiles is None or entry["profile"] in selection.profiles)
        and all(entry.get("labels", {}).get(name) in values for name, values in selection.labels)
        and (selection.min_risk is None or risk_of(entry) >= selection.min_risk)
    }


def risk_of(entry: Entry) -> float:
    score = entry.get("risk_score")
    return -1.0 if score is None else score


def cut_eagerly(entry: Entry, detail: Detail) -> Entry:
    cut: Entry = {}
    for name, value in entry.items():
        if name in METRICS:
            fields = {field: value[field] for field in METRIC_FIELDS if field in value and field in detail.fields}
            if fields and (detail.metrics is None or name in detail.metrics):
                cut[name] = fields
        elif name in detail.fields:
            cut[name] = value
    if "display_metrics" in cut and detail.metrics is not None:
        cut["display_metrics"] = {
            name: shown for name, shown in cut["display_metrics"].items() if DISPLAY_METRICS[name] in detail.metrics
        }
    return cut


def answer_of(columns: FleetColumns) -> Answer:
    return Answer(columns=columns, metadata=None, model=None)


def write(answer: Answer, selection: Selection, rows: Any) -> bytes:
    return b"".join([answer.head(), *answer.entries(rows, selection.detail), answer.tail()])


@given(narrowed(), st.integers(1, 300))
def test_every_filter_and_page_is_that_of_the_whole(drawn: tuple[FleetColumns, Selection], limit: int) -> None:
    columns, selection = drawn
    answer, expected = answer_of(columns), select_eagerly(columns, selection)
    whole = turn_to(answer, selection)
    assert (whole.matched, whole.following) == (len(expected), None)
    body = write(answer, selection, whole.rows)
    assert body == orjson.dumps({"predictions": expected}, option=orjson.OPT_SERIALIZE_NUMPY)
    read: dict[str, Any] = {}
    position: int | None = 0
    while position is not None:
        page = turn_to(answer, selection, limit=limit, position=position)
        part = orjson.loads(write(answer, selection, page.rows))["predictions"]
        assert len(part) <= limit
        assert not part.keys() & read.keys()
        assert (page.matched, page.is_first) == (len(expected), position == 0)
        read |= part
        position = None if page.following is None else page.following.position
    assert list(read.items()) == list(orjson.loads(body)["predictions"].items())


@given(st.text(), st.text(alphabet="0123456789abcdef"), st.integers(0, 10**9 - 1))
def test_a_cursor_comes_back_as_it_was_written(etag: str, selection: str, position: int) -> None:
    cursor = Cursor(etag or "x", selection, position)
    assert Cursor.read(cursor.write()) == cursor


@pytest.mark.parametrize("text", ["", "x", "MQ", "ü", "LTEgYSBi", "MSBh", "!!!!", "9" * 500])
def test_what_no_page_gave_is_no_cursor(text: str) -> None:
    assert Cursor.read(text) is None


@given(st.text())
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    assert Cursor.read(text) is None or isinstance(Cursor.read(text), Cursor)


def test_a_page_is_of_one_answer_and_one_selection() -> None:
    columns = make_columns(["a", "b", "c"])
    answer, same_numbers = answer_of(columns), answer_of(columns)
    every, few = Selection(), Selection(servers=frozenset(["a", "b"]))
    following = {turn_to(one, what, limit=1).following for one in (answer, same_numbers) for what in (every, few)}
    assert len(following) == 4
    assert turn_to(answer, every, limit=1).following in following


def test_a_place_behind_the_last_server_is_an_empty_page() -> None:
    page = turn_to(answer_of(make_columns(["a"])), Selection(), limit=5, position=9)
    assert (len(page.rows), page.matched, page.following) == (0, 1, None)
