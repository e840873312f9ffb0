"""`POST /feed/data`: metrics of the fleet come in."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint

from nordiq_watch.events import BatchAccepted
from nordiq_watch.forecast.ingest import IngestResult
from nordiq_watch.forecast.samples import FeedRules, ParsedFeed, parse_feed, reject_servers
from nordiq_watch.web.answers import Body, Reply
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.services import services

routes = Blueprint("feed", __name__)


@routes.post("/feed/data")
def feed_data() -> Reply:
    """Takes the valid records and names the others.

    200 when at least one record was taken: it is durable then. 422 when there were records and none was taken, so that
    a sender that looks at the status alone learns that nothing arrived. 400 when the body as a whole is no feed.
    """
    feed = parse_feed(read_body(), _rules(), now=services().clock())
    if feed.received == 0:
        return {"status": "ignored", "reason": "empty batch"}, 200
    if feed.batch is None:
        services().events.publish(BatchAccepted(records=0, rejected=len(feed.rejected), clipped=0))
        return _refuse(feed)
    result = services().ingest.submit(feed.batch, rejected=len(feed.rejected), clipped=feed.clipped)
    taken = reject_servers(feed, result.refused)
    return _refuse(taken) if taken.batch is None else (_accept(taken, result), 200)


def _rules() -> FeedRules:
    config = services().config
    return FeedRules(
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        future_seconds=config.window.future_seconds,
        window_length=config.window.length,
        newest_slot=services().window.newest_slot,
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


def _refuse(feed: ParsedFeed) -> Reply:
    first = feed.rejected[0]
    detail = f"none of {feed.received} records was taken; the first, {first.field}: {first.reason}"
    return {"error": "No valid record", "detail": detail, "records_received": feed.received, **_remarks(feed)}, 422


def _remarks(feed: ParsedFeed) -> Body:
    """What the sender should look at, where there is anything."""
    remarks = {
        "rejected": [asdict(rejection) for rejection in feed.rejected],
        "clipped": feed.clipped,
        "unknown_fields": feed.unknown_fields,
    }
    return {name: remark for name, remark in remarks.items() if remark}
