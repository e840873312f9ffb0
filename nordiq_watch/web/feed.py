"""Metrics of the fleet come in: our own JSON, Prometheus remote write, Telegraf's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus

from flask import Blueprint, request
from werkzeug.exceptions import UnsupportedMediaType

from nordiq_watch.errors import BodyTooLarge
from nordiq_watch.events import BatchAccepted
from nordiq_watch.feeders.remote_write import read_remote_write
from nordiq_watch.feeders.series import SeriesBatch
from nordiq_watch.feeders.telegraf import read_telegraf
from nordiq_watch.feeders.translator import Reading, Translator
from nordiq_watch.forecast.ingest import IngestResult
from nordiq_watch.forecast.rows import Rows, schema_of
from nordiq_watch.forecast.samples import FeedRules, ParsedFeed, judge_rows, parse_feed, reject_servers
from nordiq_watch.web.answers import Body, Reply
from nordiq_watch.web.bodies import limit_bytes, read_body, read_packed
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.oversize import GIVEN_UP_FOR, refuse_body
from nordiq_watch.web.services import services

routes = Blueprint("feed", __name__)


@routes.post("/feed/data")
def feed_data() -> Reply:
    """Takes the valid records and names the others.

    200 when at least one record was taken: it is durable then. 422 when there were records and none was taken, so that
    a sender that looks at the status alone learns that nothing arrived. 400 when the body as a whole is no feed.
    """
    return _take(parse_feed(read_body(), _rules(), now=services().clock()))


@routes.post("/feed/prometheus")
def feed_prometheus() -> Reply:
    """Takes remote write 0.1.0. Its senders send again what is answered with 5xx, and all of them give up for a 400."""
    if request.headers.get("Content-Encoding") != "snappy" or "v2" in request.headers.get("Content-Type", ""):
        raise UnsupportedMediaType("This takes remote write 0.1.0: protobuf prometheus.WriteRequest in snappy.")
    sent = read_remote_write(read_packed(), limit_bytes=limit_bytes(), most=services().config.feeders.max_records)
    return _take_series(sent, translators().prometheus)


@routes.post("/feed/telegraf")
def feed_telegraf() -> Reply:
    """Takes Telegraf's JSON. Telegraf sends again, for ever, what is not answered with 2xx: what can never be taken is
    named in an answer of 200.
    """
    sent = read_telegraf(read_body(), most=services().config.feeders.max_records)
    return _take_series(sent, translators().telegraf)


@routes.errorhandler(BodyTooLarge)
def give_up(error: BodyTooLarge) -> tuple[Body, int]:
    """Whatever the route: the answer makes the sender drop the batch."""
    return refuse_body(services(), request.path, request.remote_addr, error)


def _take(feed: ParsedFeed) -> tuple[Body, int]:
    if feed.received == 0:
        return {"status": "ignored", "reason": "empty batch"}, 200
    if feed.batch is None:
        services().events.publish(BatchAccepted(records=0, rejected=_count_rejected(feed), clipped=0))
        return _refuse(feed)
    result = services().ingest.submit(feed.batch, rejected=_count_rejected(feed), clipped=feed.clipped)
    taken = reject_servers(feed, result.refused)
    body, status = _refuse(taken) if taken.batch is None else (_accept(taken, result), 200)
    return body | ({"servers_refused": len(result.refused)} if result.refused else {}), status


def _take_series(sent: SeriesBatch, translator: Translator) -> tuple[Body, int]:
    """As `_take`. What was answered with 503 comes again, and is read again; what can never be taken does not."""
    newest = services().clock() + services().config.window.future_seconds
    translated = translator.translate(sent.series, newest=newest)
    translators().forget_silent()
    body, status = _take(_judge(translated.readings))
    translator.confirm(translated.readings)
    if translated.refused:
        body |= {"series_refused": translated.refused}
    if sent.passed_over:
        services().events.publish(BatchAccepted(records=0, rejected=sent.passed_over, clipped=0))
        body |= {"passed_over": sent.passed_over, "passed_over_reason": sent.reason}
    return body, GIVEN_UP_FOR[request.path] if status == HTTPStatus.UNPROCESSABLE_ENTITY else status


def _judge(readings: Sequence[Reading]) -> ParsedFeed:
    """Readings are held against the same rules as records."""
    rules = _rules()
    schema = schema_of(rules.metrics)
    rows = [
        schema.make(server=reading.server, timestamp=reading.timestamp, values=reading.values) for reading in readings
    ]
    return judge_rows(Rows(rows, range(len(rows)), len(rows)), rules, schema=schema, now=services().clock())


def _rules() -> FeedRules:
    config = services().config
    return FeedRules(
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        future_seconds=config.window.future_seconds,
        window_length=config.window.length,
        newest_slot=services().window.newest_slot,
        max_records=config.feeders.max_records,
    )


def _accept(feed: ParsedFeed, result: IngestResult) -> Body:
    warm = result.warmup.is_warmed_up
    progress = {} if warm else {"progress": result.warmup.progress_percent, "message": result.warmup.message}
    return {
        "status": "accepted" if warm else "warming_up",
        "records_received": feed.received,
        "tick": result.tick,
        "window_size": result.window_size,
        "servers_tracked": result.servers_tracked,
        "servers_ready": result.servers_ready,
        "warmup_complete": warm,
        **progress,
        **_remarks(feed),
    }


def _refuse(feed: ParsedFeed) -> tuple[Body, int]:
    first = feed.rejected[0]
    detail = f"none of {feed.received} records was taken; the first, {first.field}: {first.reason}"
    return {"error": "No valid record", "detail": detail, "records_received": feed.received, **_remarks(feed)}, 422


def _count_rejected(feed: ParsedFeed) -> int:
    return len(feed.rejected) + feed.unnamed


def _remarks(feed: ParsedFeed) -> Body:
    """What the sender should look at, where there is anything."""
    remarks = {
        "rejected": [asdict(rejection) for rejection in feed.rejected],
        "rejected_unnamed": feed.unnamed,
        "not_looked_at": feed.not_looked_at,
        "clipped": feed.clipped,
        "unknown_fields": feed.unknown_fields,
    }
    return {name: remark for name, remark in remarks.items() if remark}
