"""The query of `/predictions/current`: which part of the answer it selects. RequestError names what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nordiq_watch.api.queries import FleetQuery
from nordiq_watch.config.schema import Config
from nordiq_watch.errors import Gone, RequestError
from nordiq_watch.live.entries import FIELDS, Detail
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.selection import Cursor, Page, Selection, turn_to
from nordiq_watch.metrics import DEFAULT_PROFILE, PROFILE_BY_PREFIX, shown_profile
from nordiq_watch.names import tidy_name
from nordiq_watch.web.query_lists import read_known, read_labels, read_names

EVERYTHING = FleetQuery()


def read_page(query: FleetQuery, answer: Answer, config: Config) -> tuple[Selection, Page]:
    """What the query selects of this answer. Raises RequestError, and Gone for a cursor of another answer."""
    selection = Selection(
        servers=read_names("servers", query.servers, read=tidy_name),
        profiles=read_known(
            "profile", query.profile, _profiles_of(answer, config), what="profile of this fleet", read=shown_profile
        ),
        labels=read_labels(query.label),
        min_risk=query.min_risk,
        detail=Detail(
            metrics=read_known("metrics", query.metrics, config.metrics, what="metric of this daemon"),
            fields=read_known("fields", query.fields, FIELDS, what="field") or frozenset(FIELDS),
        ),
    )
    position = 0 if query.cursor is None else _find_position(query, selection, answer)
    return selection, turn_to(answer, selection, limit=query.limit, position=position)


def write_part(answer: Answer, selection: Selection, page: Page) -> Iterator[bytes]:
    """An `api.predictions.FleetPart`, in pieces."""
    cursor = None if page.following is None else page.following.write()
    yield answer.head()
    yield from answer.entries(page.rows, selection.detail)
    yield answer.tail(whole=page.is_first, matched=page.matched, next_cursor=cursor)


def _find_position(query: FleetQuery, selection: Selection, answer: Answer) -> int:
    if query.limit is None:
        raise RequestError("cursor needs limit; send what the first page was asked for with, and the cursor")
    cursor = Cursor.read(query.cursor or "")
    if cursor is None:
        raise RequestError(f"cursor is {query.cursor!r:.60}; must be the next_cursor of the page before")
    if cursor.etag != answer.etag:
        raise Gone("the answer that this cursor belongs to was replaced by a newer one; start again without a cursor")
    if cursor.selection != selection.digest():
        raise RequestError("cursor is of another query; all parameters but limit must be those of the page before")
    return cursor.position


def _profiles_of(answer: Answer, config: Config) -> Iterable[str]:
    """Those that servers have, and those that they would have by their names or by the config."""
    seen = () if answer.columns is None else answer.columns.profiles
    return dict.fromkeys(
        (*seen, *PROFILE_BY_PREFIX.values(), DEFAULT_PROFILE, *map(shown_profile, config.risk.profiles))
    )
