"""`POST /admin/import`: samples of the past, which go where nothing was measured."""

from __future__ import annotations

import logging
from dataclasses import replace
from http import HTTPStatus

from flask import Blueprint, Response, request

from nordiq_watch.api.enums import Media
from nordiq_watch.api.imports import Imported
from nordiq_watch.errors import Busy, RequestError
from nordiq_watch.ingest.backfill import Filled
from nordiq_watch.ingest.samples import ParsedFeed
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.feed import read_table
from nordiq_watch.web.feeding import refuse_all, remarks_of, rules_of
from nordiq_watch.web.request_slots import request_slots
from nordiq_watch.web.routing import answer
from nordiq_watch.web.services import services

log = logging.getLogger(__name__)

routes = Blueprint("imports", __name__, url_prefix="/admin")


@routes.post("/import")
def import_history() -> Response:
    """Takes records as `/feed/data` does, and older ones too. What a slot of a server has of a metric stays.

    200 when at least one record could be read, whether or not it changed anything. 422 when none could.
    """
    with request_slots().hold("reload") as held:
        if not held:
            raise Busy("too many other orders are being carried out; send this one again in a moment")
        feed = _read()
        if feed.received == 0:
            raise RequestError("there are no records in the body")
        if feed.batch is None:
            return answer(refuse_all(feed), status=HTTPStatus.UNPROCESSABLE_ENTITY)
        filled = services().ingest.worker.fill(feed.batch)
    tracks = services().ingest.window.tracks
    services().roster.labels.note(given for given in feed.labels if tracks(given.server))
    log.info(
        "history from %s: %d slots into the window, %d into the archive, %d were there",
        request.remote_addr, filled.window, filled.archive, filled.unchanged,
    )  # fmt: skip
    return answer(_describe(feed, filled))


def _read() -> ParsedFeed:
    daemon = services()
    rules = replace(rules_of(daemon), oldest_slot=daemon.ingest.archive.oldest_kept())
    if request.mimetype == Media.ARROW:
        return read_table(rules)
    return daemon.feed_reader.read(read_body(), rules, now=daemon.clock())


def _describe(feed: ParsedFeed, filled: Filled) -> Imported:
    standing = services().ingest.worker.standing()
    return Imported(
        success=True,
        records_received=feed.received,
        slots_in_window=filled.window,
        slots_in_archive=filled.archive,
        slots_unchanged=filled.unchanged,
        slots_unfinished=filled.unfinished,
        slots_refused=filled.refused,
        servers_refused=len(filled.eviction.refused),
        tick=standing.tick,
        servers_tracked=standing.servers_tracked,
        servers_ready=standing.servers_ready,
        **remarks_of(feed),
    )
