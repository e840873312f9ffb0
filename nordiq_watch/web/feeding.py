"""From what one request sent to the answer that its sender gets, whatever route it came by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from functools import cache
from http import HTTPStatus
from typing import Any, TypeAlias

from msgspec.structs import replace

from nordiq_watch.api import feed as api
from nordiq_watch.api.enums import FeedStatus
from nordiq_watch.api.sources import Drop
from nordiq_watch.events import BatchAccepted
from nordiq_watch.ingest.delivery import Delivery
from nordiq_watch.ingest.formats.tracks import gap_of
from nordiq_watch.ingest.ingest import IngestResult
from nordiq_watch.ingest.sample_checks import FeedRules
from nordiq_watch.ingest.samples import ParsedFeed, reject_servers
from nordiq_watch.labels import MOST_LABELS, find_fault
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.web.deliveries import note_feed
from nordiq_watch.web.services import Services
from nordiq_watch.zones import find_zone

Outcome: TypeAlias = "tuple[api.Fed | api.NothingTaken, HTTPStatus]"


def take_json(services: Services, body: bytes, delivery: Delivery) -> Outcome:
    """Of a body of `POST /feed/data`, unpacked. Raises as FeedReader.read and Ingest.submit do."""
    return take_records(services, services.feed_reader.read(body, rules_of(services), now=services.clock()), delivery)


def take_records(services: Services, feed: ParsedFeed, delivery: Delivery) -> Outcome:
    """As `take`, of a body whose records are the samples."""
    delivery.note_received(feed.received)
    return take(services, feed, delivery)


def take(services: Services, feed: ParsedFeed, delivery: Delivery) -> Outcome:
    """Blocks until the good records are durable and in the window. Notes what became of them, not how many the body
    held: a reader of series knows that.
    """
    if feed.received == 0:
        return api.Fed(FeedStatus.IGNORED, reason=_why_nothing(services, delivery), **_unknown(delivery)), HTTPStatus.OK
    if feed.batch is None:
        note_feed(delivery, feed)
        services.events.publish(BatchAccepted(records=0, rejected=count_rejected(feed), clipped=0))
        return refuse_all(feed), HTTPStatus.UNPROCESSABLE_ENTITY
    note_labels(services, feed.labels, delivery)  # before the samples, whose forecast is to have them
    result = services.ingest.worker.submit(feed.batch, rejected=count_rejected(feed), clipped=feed.clipped)
    taken, refused = reject_servers(feed, result.refused), len(result.refused)
    note_feed(delivery, taken)
    delivery.note_taken(0 if taken.batch is None else len(taken.batch.rows))
    services.roster.labels.drop(result.refused)
    if taken.batch is None:
        return replace(refuse_all(taken), servers_refused=refused), HTTPStatus.UNPROCESSABLE_ENTITY
    accepted = replace(_accept(taken, result), servers_refused=refused, **_unknown(delivery))
    return replace(accepted, newest_sample_age_seconds=_age_of(taken, now=services.clock())), HTTPStatus.OK


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
        naive_zone=naive_zone_of(config.window.naive_zone),
    )


def note_labels(services: Services, given: Iterable[GivenLabels], delivery: Delivery) -> None:
    """Keeps the labels of servers; of those that have too many already, no new ones."""
    lost = services.roster.labels.note(given)
    delivery.note_dropped(Drop.BAD_LABEL, lost, example=f"a server has {MOST_LABELS} labels already")


def note_series_labels(services: Services, given: Iterable[GivenLabels], delivery: Delivery) -> None:
    """The same of labels of series, as far as they can be a server's, and the window has the server."""
    good = []
    for one in given:
        faults = {name: find_fault(name, value) for name, value in one.labels.items()}
        for name, fault in faults.items():
            delivery.note_dropped(Drop.BAD_LABEL, int(fault is not None), example=f"{name} of {one.server} {fault}")
        if services.ingest.window.tracks(one.server):
            kept = {name: value for name, value in one.labels.items() if faults[name] is None}
            good.append(GivenLabels(one.server, one.at, kept))
    note_labels(services, good, delivery)


@cache
def naive_zone_of(name: str) -> tzinfo:
    """The zone of timestamps without one; the config has checked that there is such a zone."""
    return find_zone(name)


def _age_of(feed: ParsedFeed, *, now: float) -> float | None:
    """Seconds since the newest sample of a batch; below 0 for one that is ahead of this machine's clock."""
    return None if feed.newest is None else round(now - feed.newest, 1)


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
        **remarks_of(feed),
    )


def refuse_all(feed: ParsedFeed) -> api.NothingTaken:
    first = feed.rejected[0]
    detail = f"none of {feed.received} records was taken; the first, {first.field}: {first.reason}"
    return api.NothingTaken("No valid record", detail, feed.received, **remarks_of(feed))


def count_rejected(feed: ParsedFeed) -> int:
    """Of records."""
    return feed.received - len(feed.indices)


def remarks_of(feed: ParsedFeed) -> dict[str, Any]:
    """The fields of `api.Remarks` that follow from the records."""
    return {
        "rejected": tuple(api.Rejection(found.index, found.field, found.reason) for found in feed.rejected),
        "rejected_unnamed": feed.unnamed,
        "not_looked_at": feed.not_looked_at,
        "values_left_out": feed.values_left_out,
        "clipped": feed.clipped,
        "clipped_below": feed.clipped_below,
        "unknown_fields": tuple(feed.unknown_fields),
    }


def _unknown(delivery: Delivery) -> dict[str, Any]:
    """The fields of `api.Remarks` about series that no rule knows: examples only where no rule knows any."""
    examples = delivery.examples_of_unknown() if delivery.is_all_unknown else ()
    return {"series_unknown": delivery.unknown, "unknown_examples": examples}


def _why_nothing(services: Services, delivery: Delivery) -> str:
    """Why no sample came of a body."""
    if delivery.received == 0:
        return "empty batch"
    if delivery.is_all_unknown:
        examples = ", ".join(delivery.examples_of_unknown())
        return f"{delivery.received:,} series came, no rule knows any of them, e.g. {examples}; see docs/collectors.md"
    lost = {reason: note.count for reason, note in delivery.drops.items()}
    left_out = "".join(f"; {count:,} left out ({reason})" for reason, count in lost.items())
    for told in (Drop.DUPLICATE, Drop.TOO_SPARSE):
        if told in lost:
            example = delivery.drops[told].example
            return f"{delivery.received:,} series came and none was taken{left_out}, e.g. {example}"
    if sum(lost.values()) >= delivery.received:
        return f"{delivery.received:,} series came and none was taken{left_out}"
    minutes = gap_of(services.config.window.interval_seconds) / 60
    needs = f"a rate needs a second sample within {minutes:g} minutes, a share both of its sides"
    return f"{delivery.received:,} series came and complete no metric yet: {needs}{left_out}"
