"""`POST /v1/metrics`: metrics from OpenTelemetry's SDKs and its collector, by OTLP/HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from flask import Blueprint, Response, request
from werkzeug.exceptions import UnsupportedMediaType

from nordiq_watch.api.enums import Media
from nordiq_watch.api.feed import Fed, NothingTaken
from nordiq_watch.api.sources import FeedFormat
from nordiq_watch.errors import BodyTooLarge
from nordiq_watch.ingest.formats.otlp import PIECE_BYTES, LostPoints, MetricParts, count_points, series_of
from nordiq_watch.ingest.formats.otlp_json import JsonParts
from nordiq_watch.ingest.formats.otlp_protobuf import ProtobufParts
from nordiq_watch.ingest.formats.series import SeriesBatch
from nordiq_watch.web.bodies import read_body
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.deliveries import deliver
from nordiq_watch.web.feed import take_series
from nordiq_watch.web.otlp_answers import answer_exported, answer_status
from nordiq_watch.web.oversize import refuse_body
from nordiq_watch.web.services import services

routes = Blueprint("otlp", __name__)

_READERS: Mapping[str, Callable[[bytes, int], MetricParts]] = {
    Media.PROTOBUF: ProtobufParts,
    Media.JSON: JsonParts,
}


@routes.post("/v1/metrics")
def take_metrics() -> Response:
    """Takes OTLP/HTTP, protobuf or JSON. What cannot be taken is in the answer's partial success: exporters log it, and
    repeat no batch but those answered with 429, 502, 503 and 504.
    """
    feeders, lost = services().config.feeders, LostPoints()
    with deliver(FeedFormat.OTLP) as delivery:
        parts = _read_parts(most=feeders.max_records)
        count_points(parts, feeders.max_records)
        series = series_of(parts, feeders.otlp.server_attributes, lost)
        body, _ = take_series(SeriesBatch(series), translators().otlp, delivery)
        lost.tell(delivery)
    reasons = "; ".join([*lost.describe(), *_remarks(body)])
    return answer_exported(left_out=lost.total + _count_refused(body), reasons=reasons)


@routes.errorhandler(BodyTooLarge)
def give_up(error: BodyTooLarge) -> Response:
    """A batch that is too large, which no exporter repeats."""
    refusal, status = refuse_body(services(), request.path, error)
    return answer_status(refusal.error, refusal.detail, status=status)


def _read_parts(*, most: int) -> MetricParts:
    read = _READERS.get(request.mimetype)
    if read is None:
        raise UnsupportedMediaType(f"This takes OTLP as {Media.PROTOBUF} or {Media.JSON}.")
    body = read_body()
    parts = read(body, most)
    return parts if len(body) > PIECE_BYTES else list(parts)


def _count_refused(body: Fed | NothingTaken) -> int:
    refused = body.series_refused + body.series_left_out + body.values_left_out
    return len(body.rejected) + body.rejected_unnamed + refused


def _remarks(body: Fed | NothingTaken) -> Iterator[str]:
    """What became of the samples that the data points made."""
    yield from body.left_out_reasons
    if body.unknown_examples and isinstance(body, Fed) and body.reason:
        yield body.reason
    if body.rejected:
        count, first = len(body.rejected) + body.rejected_unnamed, body.rejected[0]
        yield f"{count} samples were not taken; of the first, {first.field} {first.reason}"
    if body.series_refused:
        yield f"{body.series_refused} new series were not taken, there is no room for them (feeders.max_series)"
    if body.values_left_out:
        yield f"{body.values_left_out} values are left out: {body.values_left_out_reason}"
    if above := body.clipped - body.clipped_below:
        yield f"{above} percentages above 100 were kept as 100"
    if body.clipped_below:
        yield f"{body.clipped_below} values below 0 were kept as 0"
