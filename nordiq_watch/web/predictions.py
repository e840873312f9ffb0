"""`GET /predictions/…`: cut from the answer that is served. The JSON of a small fleet is ready; that of a large one is
written while it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Blueprint, Response, request

from nordiq_watch.api.enums import TABLES, Media, NoForecast
from nordiq_watch.api.predictions import FleetForecast
from nordiq_watch.api.queries import FleetQuery
from nordiq_watch.errors import NotAcceptable, NotFound
from nordiq_watch.live.fleet_answer import Answer
from nordiq_watch.live.selection import Page
from nordiq_watch.web.fleet_parts import EVERYTHING, read_page, write_part
from nordiq_watch.web.routing import answer, name_model, query_of
from nordiq_watch.web.services import services
from nordiq_watch.web.streams import pack, stream

routes = Blueprint("predictions", __name__, url_prefix="/predictions")

_SENT_WHOLE = 1000
"""Servers of a part that is sent in one piece, with its length; what is longer is sent while it is written."""


@routes.get("/current")
def show_fleet() -> Response:
    """The whole fleet, or the part of it that the query selects, in pages of one answer if `limit` is given."""
    newest, query, media = services().live.serving().answer, query_of(FleetQuery), _wanted_media()
    packed = request.accept_encodings.quality("gzip") > 0
    if query == EVERYTHING and media is Media.JSON:
        return _hand_out(newest, lambda: _send_whole(newest, packed=packed))
    selection, page = read_page(query, newest, services().config)
    if media is Media.JSON:
        pieces = write_part(newest, selection, page)
        return _hand_out(newest, lambda: _send_part(pieces, page, packed=packed))
    write_table = _find_table_writer(media)
    return _hand_out(newest, lambda: _send_table(write_table(newest, selection, page, media=media), media), media=media)


@routes.get("/<path:server>")
def show_server(server: str) -> Response:
    """One server alone; 404 if nothing that it sent is in the window."""
    newest = services().live.serving().answer
    body = newest.for_server(server)
    if body is not None:
        return _hand_out(newest, lambda: _as_json(body))
    if not services().ingest.window.tracks(server):
        raise NotFound(f"no server {server!r:.300} has sent data; its name must be exactly as in the feed")
    if newest.error is not None:
        return _hand_out(newest, lambda: _as_json(newest.body))
    silent = FleetForecast(error=NoForecast.INSUFFICIENT_DATA, message=f"{server} has gone silent.", predictions={})
    return answer(silent)


def _wanted_media() -> Media:
    """JSON, unless the client prefers a table. Most requests name none, and are not worth the parsing."""
    if not any(table in request.headers.get("Accept", "") for table in TABLES):
        return Media.JSON
    wanted = request.accept_mimetypes.best_match((Media.JSON, *TABLES), default=Media.JSON)
    return Media(wanted)


def _find_table_writer(media: Media) -> Callable[..., Iterator[bytes]]:
    """Raises NotAcceptable where pyarrow is not installed."""
    try:
        from nordiq_watch.web.arrow_tables import write_table  # not every installation has pyarrow
    except ImportError:
        raise NotAcceptable(
            f"{media} needs pyarrow, which is not installed: pip install 'nordiq-watch[arrow]'"
        ) from None
    return write_table


def _send_whole(newest: Answer, *, packed: bool) -> Response:
    ready = newest.rendered
    if ready is not None:
        response = _as_json(ready.compressed if packed else ready.body)
    else:
        pieces = newest.pieces()
        response = stream(pack(pieces) if packed else pieces, media=Media.JSON)
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


def _send_part(pieces: Iterator[bytes], page: Page, *, packed: bool) -> Response:
    response = stream(pack(pieces) if packed else pieces, media=Media.JSON)
    if len(page.rows) <= _SENT_WHOLE:
        response.make_sequence()  # a client sees how long it is
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    return response


def _send_table(pieces: Iterator[bytes], media: Media) -> Response:
    response = stream(pieces, media=media)
    if media is Media.PARQUET:
        response.headers["Content-Disposition"] = 'attachment; filename="predictions.parquet"'
    return response


def _as_json(body: bytes) -> Response:
    return Response(body, mimetype=Media.JSON)


def _hand_out(newest: Answer, make: Callable[[], Response], *, media: Media = Media.JSON) -> Response:
    """What `make` returns, or 304 if the client has it. Every header belongs to the answer that is sent, not to a newer
    one; a table's tag is not that of the JSON.
    """
    etag = newest.etag if media is Media.JSON else f'{newest.etag[:-1]}-{media.name.lower()}"'
    response = Response(status=304) if request.if_none_match.contains_raw(etag) else make()
    response.headers["ETag"] = etag
    response.headers["Vary"] = "Accept, Accept-Encoding"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers.update(name_model(newest.model))
    return response
