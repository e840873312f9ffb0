"""InfluxDB's routes for writing, in its versions 1 and 2: line protocol from Telegraf and InfluxDB's clients."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from flask import Blueprint, Flask, Response, request

from nordiq_watch.api.feed import Fed, NothingTaken
from nordiq_watch.api.influx import Queried
from nordiq_watch.api.queries import WriteQuery
from nordiq_watch.api.sources import FeedFormat
from nordiq_watch.errors import BodyTooLarge, RequestError
from nordiq_watch.ingest.formats.line_protocol import PRECISIONS, BadLines, read_lines
from nordiq_watch.ingest.formats.series import SeriesBatch
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.deliveries import deliver, note_refused_url
from nordiq_watch.web.feed import take_series
from nordiq_watch.web.influx_answers import answer_influx, answer_partial
from nordiq_watch.web.oversize import refuse_body
from nordiq_watch.web.routing import answer, query_of
from nordiq_watch.web.services import services

routes = Blueprint("influx", __name__)

_WRITES = ("/write", "/api/v2/write")


@routes.post("/api/v2/write")
def write_v2() -> Response:
    """Takes line protocol as InfluxDB 2 does: 204 when all of it was taken. 200 names the first line that was not, and
    the good ones are taken all the same.
    """
    return _write()


@routes.post("/write")
def write_v1() -> Response:
    """Takes line protocol as InfluxDB 1 does; see `/api/v2/write`."""
    return _write()


@routes.get("/ping")
def ping() -> Response:
    """For clients that look whether there is an InfluxDB: nothing, with 204."""
    return Response(status=HTTPStatus.NO_CONTENT)


@routes.post("/query")
def query() -> Response:
    """Answers Telegraf's `CREATE DATABASE` as InfluxDB 1 does, and no other query."""
    text = request.values.get("q", "")
    if not text.strip().upper().startswith("CREATE DATABASE"):
        raise RequestError("this daemon answers no queries; it takes line protocol at /write and /api/v2/write")
    return answer(Queried())


@routes.errorhandler(BodyTooLarge)
def give_up(error: BodyTooLarge) -> Response:
    """Answers so that the sender drops the batch."""
    refusal, status = refuse_body(services(), request.path, error)
    return answer_influx(refusal.error, refusal.detail, status=status)


def refuse_keys_in_urls(app: Flask) -> None:
    """Refuses a write with `u` or `p` in its URL. Register before the guard, which would only miss the key."""

    @app.before_request
    def check() -> None:
        rule = request.url_rule
        if rule is not None and rule.rule in _WRITES and {"u", "p"} & set(request.args):
            raise RequestError(
                "URLs end up in logs, so u and p are not read: send the daemon's API key in the header "
                "`Authorization: Token KEY`, or as the password of `Authorization: Basic`"
            )


def _write() -> Response:
    sent, bad = query_of(WriteQuery), BadLines()
    if sent.precision not in PRECISIONS:
        known = ", ".join(name for name in PRECISIONS if name)
        detail = f"precision is {sent.precision!r:.40}; must be one of {known}"
        note_refused_url("/write", detail)
        raise RequestError(detail)
    most = services().config.feeders.max_records
    with deliver(FeedFormat.INFLUX) as delivery:
        series = read_lines(read_body(), bad, precision=sent.precision, now=services().clock(), most=most)
        body, _ = take_series(SeriesBatch(series), translators().influx, delivery)
        delivery.note_received(bad.total)
        examples = dict.fromkeys(bad.counts, "" if bad.first is None else bad.first[1])
        delivery.note_all_dropped(bad.counts, examples)
    reasons = "; ".join([*_describe(bad), *_remarks(body)])
    left_out = bad.total + _count_refused(body)
    return answer_partial(reasons, left_out=left_out) if reasons else Response(status=HTTPStatus.NO_CONTENT)


def _describe(bad: BadLines) -> Iterator[str]:
    if bad.first is not None:
        number, reason = bad.first
        yield f"{bad.total} lines were not taken, the first is line {number}: {reason}"


def _count_refused(body: Fed | NothingTaken) -> int:
    refused = body.series_refused + body.series_left_out + body.values_left_out
    return len(body.rejected) + body.rejected_unnamed + refused


def _remarks(body: Fed | NothingTaken) -> Iterator[str]:
    """What became of the series that the lines made, where it was not taken."""
    yield from body.left_out_reasons
    if body.rejected:
        count, first = len(body.rejected) + body.rejected_unnamed, body.rejected[0]
        yield f"{count} samples were not taken; of the first, {first.field} {first.reason}"
    if body.series_refused:
        yield f"{body.series_refused} new series were not taken, there is no room for them (feeders.max_series)"
    if body.values_left_out:
        yield f"{body.values_left_out} values are left out: {body.values_left_out_reason}"
