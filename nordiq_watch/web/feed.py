"""The feed routes: our own JSON and Arrow, Prometheus remote write, Telegraf's and collectd's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request
from msgspec.structs import replace
from werkzeug.exceptions import UnsupportedMediaType

from nordiq_watch.api.enums import Media
from nordiq_watch.api.sources import Drop, FeedFormat
from nordiq_watch.errors import BodyTooLarge, Busy, MissingPackage
from nordiq_watch.events import BatchAccepted
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.arrow import read_arrow
from nordiq_watch.ingest.formats.collectd import read_collectd
from nordiq_watch.ingest.formats.readings import Reading, Translation
from nordiq_watch.ingest.formats.series import SeriesBatch
from nordiq_watch.ingest.formats.telegraf import read_telegraf
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.rows import Rows
from nordiq_watch.ingest.sample_checks import FeedRules
from nordiq_watch.ingest.samples import ParsedFeed, count_clipped
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.deliveries import deliver, note_left_out
from nordiq_watch.web.feeding import Outcome, note_series_labels, rules_of, take, take_json, take_records
from nordiq_watch.web.final_answers import GIVEN_UP_FOR
from nordiq_watch.web.oversize import refuse_body
from nordiq_watch.web.quick_feed import raise_failure
from nordiq_watch.web.remote_write import describe_written, read_remote_write
from nordiq_watch.web.renames import settle_clusters
from nordiq_watch.web.routing import answer
from nordiq_watch.web.services import services

routes = Blueprint("feed", __name__)

_NO_FAULT = (Drop.DUPLICATE, Drop.FIRST)
"""What is counted, and no answer calls a fault."""


@routes.post("/feed/data")
def feed_data() -> Response:
    """Takes the valid records and names the others.

    200 when at least one record was taken: it is durable then. 422 when there were records and none was taken, so that
    a sender that looks at the status alone learns that nothing arrived. 400 when the body as a whole is no feed.
    """
    is_arrow = request.mimetype == Media.ARROW
    with deliver(FeedFormat.ARROW if is_arrow else FeedFormat.JSON) as delivery:
        raise_failure(request.environ)
        if is_arrow:
            body, status = take_records(services(), read_table(rules_of(services())), delivery)
        else:
            body, status = take_json(services(), read_body(), delivery)
    return answer(body, status=status)


@routes.get("/feed/sources")
def show_sources() -> Response:
    """The senders, what was taken from each, and what was dropped and why."""
    return answer(services().ingest.sources.describe())


def read_table(rules: FeedRules) -> ParsedFeed:
    """Of the request's body, in Arrow."""
    try:
        sent = read_arrow(read_body(), rules.metrics, most=rules.max_records, naive_zone=rules.naive_zone)
    except MissingPackage:
        raise UnsupportedMediaType("This daemon runs without pyarrow and takes JSON alone.") from None
    return services().feed_reader.judge(sent, rules, now=services().clock())


@routes.post("/feed/prometheus")
def feed_prometheus() -> Response:
    """Takes remote write 1.0 and 2.0. Its senders repeat what is answered with 5xx; all of them give up for a 400."""
    with deliver(FeedFormat.PROMETHEUS) as delivery:
        translator = translators().prometheus
        sent = read_remote_write(most=services().config.feeders.max_records, knows=translator.knows)
        body, status = take_series(sent, translator, delivery)
    return answer(body, status=status, headers=describe_written(sent, body, status))


@routes.post("/feed/telegraf")
def feed_telegraf() -> Response:
    """Takes Telegraf's JSON. Telegraf sends again, for ever, what is not answered with 2xx: what can never be taken is
    named in an answer of 200.
    """
    with deliver(FeedFormat.TELEGRAF) as delivery:
        sent = read_telegraf(read_body(), most=services().config.feeders.max_records)
        body, status = take_series(sent, translators().telegraf, delivery)
    return answer(body, status=status)


@routes.post("/feed/collectd")
def feed_collectd() -> Response:
    """Takes the JSON of collectd's write_http, which sends nothing twice, whatever the answer."""
    with deliver(FeedFormat.COLLECTD) as delivery:
        sent = read_collectd(read_body(), most=services().config.feeders.max_records)
        body, status = take_series(sent, translators().collectd, delivery)
    return answer(body, status=status)


@routes.errorhandler(BodyTooLarge)
def give_up(error: BodyTooLarge) -> Response:
    """Answers so that the sender drops the batch, whatever the route."""
    body, status = refuse_body(services(), request.path, error)
    return answer(body, status=status)


def take_series(sent: SeriesBatch, translator: Translator, delivery: Delivery) -> Outcome:
    """As `take`. A batch answered with 503 is sent and read again; one that can never be taken is not."""
    settle_clusters(services(), translators())
    with services().ingest.clusters.naming():
        outcome = _take_named(sent, translator, delivery)
    with suppress(Busy):  # the next request tries it again
        settle_clusters(services(), translators())
    return outcome


def _take_named(sent: SeriesBatch, translator: Translator, delivery: Delivery) -> Outcome:
    newest = services().clock() + services().config.window.future_seconds
    translated = translator.translate(sent.series, delivery, newest=newest)
    kept = False
    try:
        translators().forget_silent()
        delivery.note_received(sent.passed_over)
        delivery.note_all_dropped(sent.causes, dict.fromkeys(sent.causes, sent.reason))
        note_left_out(delivery, translated.left_out)
        translator.sync()
        checked = check_readings(translated.readings)
        below, example = translated.clipped_below, translated.clipped_example
        clipped = count_clipped(checked, translated.clipped, below=below, example=example)
        body, status = take(services(), clipped, delivery)
        kept = True
        note_series_labels(services(), translated.labels, delivery)
    finally:
        translator.settle(translated.readings, kept=kept)
    body = replace(body, series_refused=translated.refused, **_tell_losses(translated))
    if sent.passed_over:
        services().events.publish(BatchAccepted(records=0, rejected=sent.passed_over, clipped=0))
        body = replace(body, passed_over=sent.passed_over, passed_over_reason=sent.reason)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = GIVEN_UP_FOR[request.path]
    return body, status


def _tell_losses(translated: Translation) -> dict[str, Any]:
    """The remarks on what is told instead of taken, whatever became of the rest."""
    remarks: dict[str, Any] = {}
    if translated.left_out:
        remarks["series_left_out"] = sum(one.count for one in translated.left_out)
        remarks["left_out_reasons"] = tuple(
            f"{one.count} series are left out, {one.reason}" for one in translated.left_out
        )
    lost = {reason: count for reason, count in translated.losses.counts.items() if reason not in _NO_FAULT}
    if lost:
        remarks["values_left_out"] = sum(lost.values())
        remarks["values_left_out_reason"] = translated.losses.examples[next(iter(lost))]
    return remarks


def check_readings(readings: Sequence[Reading]) -> ParsedFeed:
    """Applies the rules for records to readings."""
    reader = services().feed_reader
    rows = [
        reader.schema.make(server=reading.server, timestamp=reading.timestamp, values=reading.values)
        for reading in readings
    ]
    return reader.check(Rows(rows, range(len(rows)), len(rows)), rules_of(services()), now=services().clock())
