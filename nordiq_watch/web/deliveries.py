"""From a request for a feeding route to its entry in the register of sources.

A view wraps everything that it does with its body:

    with deliver(FeedFormat.TELEGRAF) as delivery:
        …  # hand `delivery` to what reads the body and to `feeding.take`; they note what they find
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from flask import g, request
from werkzeug.exceptions import HTTPException

from nordiq_watch.api.sources import Drop, FeedFormat
from nordiq_watch.errors import BodyTooLarge, Busy, RequestError, StorageError
from nordiq_watch.ingest.delivery import Delivery, Sender
from nordiq_watch.ingest.formats.server_names import Cause, LeftOut
from nordiq_watch.ingest.samples import ParsedFeed
from nordiq_watch.security.keys import KeyHolder
from nordiq_watch.web.final_answers import BODY_DROPPED
from nordiq_watch.web.services import services

_DROPS = {Cause.NAMELESS: Drop.NO_SERVER_NAME, Cause.LOOPBACK: Drop.LOOPBACK, Cause.RELABEL: Drop.RELABELLED}


_FORMATS = {
    "/feed/data": FeedFormat.JSON,
    "/feed/prometheus": FeedFormat.PROMETHEUS,
    "/feed/telegraf": FeedFormat.TELEGRAF,
    "/feed/collectd": FeedFormat.COLLECTD,
    "/v1/metrics": FeedFormat.OTLP,
    "/write": FeedFormat.INFLUX,
    "/api/v2/write": FeedFormat.INFLUX,
}
"""Feeding route → what is counted there without a look at the body."""


def note_refused_url(rule: str, detail: str) -> None:
    """A request for a feeding route whose URL cannot be taken: most senders drop the batch after the answer."""
    kind = _FORMATS.get(rule)
    if kind is not None:
        delivery = Delivery(_present_sender(kind))
        delivery.note_dropped(Drop.UNREADABLE, example=detail)
        services().ingest.sources.note(delivery)


@contextmanager
def deliver(kind: FeedFormat) -> Iterator[Delivery]:
    """The Delivery of the present request, which is in the register when the block ends, however it ends.

    What the block raises says why the body as a whole is dropped, and is answered so that the sender does not repeat it
    (`web.final_answers`); Busy and StorageError say that it may come again.
    """
    delivery = Delivery(_present_sender(kind))
    try:
        yield delivery
    except (Busy, StorageError) as error:
        if kind.repeats:
            delivery.postpone(str(error))
        else:
            delivery.note_dropped(Drop.NOT_REPEATED, example=str(error))
        raise
    except Exception as error:
        cause = _find_cause(error)  # the text of an unforeseen one may name files of this host
        delivery.note_dropped(cause, example=type(error).__name__ if cause is Drop.INTERNAL else str(error))
        setattr(g, BODY_DROPPED, True)
        raise
    finally:
        services().ingest.sources.note(delivery)


def _find_cause(error: Exception) -> Drop:
    match error:
        case BodyTooLarge():
            return Drop.TOO_LARGE
        case RequestError() | HTTPException():
            return Drop.UNREADABLE
        case _:
            return Drop.INTERNAL


def note_feed(delivery: Delivery, feed: ParsedFeed) -> None:
    """What the rules for records found in a request; `received` is noted by what read the body."""
    delivery.note_moment(feed.newest)
    if feed.causes:
        examples = {found.cause: f"{found.field} {found.reason}" for found in reversed(feed.rejected)}
        delivery.note_all_dropped(feed.causes, examples | {Drop.CLIPPED: feed.clipped_example})


def note_left_out(delivery: Delivery, left_out: Iterable[LeftOut]) -> None:
    """Series that name no server, or that the config leaves out."""
    for one in left_out:
        delivery.note_dropped(_DROPS[one.cause], one.count, example=one.reason)


def _present_sender(kind: FeedFormat) -> Sender:
    holder: KeyHolder | None = g.get("holder")
    key = None if holder is None else holder.id
    return Sender.of(kind, key=key, address=request.remote_addr, user_agent=request.headers.get("User-Agent"))
