"""From what one request sent to the answer that its sender gets, whatever route it came by."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeAlias

from msgspec.structs import replace

from nordiq_watch.api import feed as api
from nordiq_watch.api.enums import FeedStatus
from nordiq_watch.events import BatchAccepted
from nordiq_watch.ingest.ingest import IngestResult
from nordiq_watch.ingest.sample_checks import FeedRules
from nordiq_watch.ingest.samples import ParsedFeed, reject_servers
from nordiq_watch.web.services import Services

Outcome: TypeAlias = "tuple[api.Fed | api.NothingTaken, HTTPStatus]"


def take_json(services: Services, body: bytes) -> Outcome:
    """Of a body of `POST /feed/data`, unpacked. Raises as FeedReader.read and Ingest.submit do."""
    return take(services, services.feed_reader.read(body, rules_of(services), now=services.clock()))


def take(services: Services, feed: ParsedFeed) -> Outcome:
    """Blocks until the good records are durable and in the window."""
    if feed.received == 0:
        return api.Fed(FeedStatus.IGNORED, reason="empty batch"), HTTPStatus.OK
    if feed.batch is None:
        services.events.publish(BatchAccepted(records=0, rejected=_count_rejected(feed), clipped=0))
        return _refuse(feed), HTTPStatus.UNPROCESSABLE_ENTITY
    result = services.ingest.worker.submit(feed.batch, rejected=_count_rejected(feed), clipped=feed.clipped)
    taken, refused = reject_servers(feed, result.refused), len(result.refused)
    if taken.batch is None:
        return replace(_refuse(taken), servers_refused=refused), HTTPStatus.UNPROCESSABLE_ENTITY
    return replace(_accept(taken, result), servers_refused=refused), HTTPStatus.OK


def rules_of(services: Services) -> FeedRules:
    """Those for a request that comes now."""
    config = services.config
    return FeedRules(
        metrics=config.metrics,
        interval_seconds=config.window.interval_seconds,
        future_seconds=config.window.future_seconds,
        window_length=config.window.length,
        newest_slot=services.ingest.window.newest_slot,
        max_records=config.feeders.max_records,
    )


def _accept(feed: ParsedFeed, result: IngestResult) -> api.Fed:
    warmup = result.warmup
    is_warm = warmup.is_warmed_up
    return api.Fed(
        status=FeedStatus.ACCEPTED if is_warm else FeedStatus.WARMING_UP,
        records_received=feed.received,
        tick=result.tick,
        window_size=result.window_size,
        servers_tracked=result.servers_tracked,
        servers_ready=result.servers_ready,
        warmup_complete=is_warm,
        progress=None if is_warm else warmup.progress_percent,
        message=None if is_warm else warmup.message,
        **_remarks(feed),
    )


def _refuse(feed: ParsedFeed) -> api.NothingTaken:
    first = feed.rejected[0]
    detail = f"none of {feed.received} records was taken; the first, {first.field}: {first.reason}"
    return api.NothingTaken("No valid record", detail, feed.received, **_remarks(feed))


def _count_rejected(feed: ParsedFeed) -> int:
    return len(feed.rejected) + feed.unnamed


def _remarks(feed: ParsedFeed) -> dict[str, Any]:
    """The fields of `api.Remarks` that follow from the records."""
    return {
        "rejected": tuple(api.Rejection(found.index, found.field, found.reason) for found in feed.rejected),
        "rejected_unnamed": feed.unnamed,
        "not_looked_at": feed.not_looked_at,
        "clipped": feed.clipped,
        "unknown_fields": tuple(feed.unknown_fields),
    }
