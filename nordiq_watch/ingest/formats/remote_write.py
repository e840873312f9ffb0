"""Prometheus remote write 1.0: a protobuf message in snappy's block format.

https://prometheus.io/docs/specs/prw/remote_write_spec/. Metadata and exemplars are skipped by protobuf itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import cramjam

from nordiq_watch.errors import BodyTooLarge, RequestError
from nordiq_watch.ingest.formats.parsed_series import ParsedSeries, UnreadableSeries
from nordiq_watch.ingest.formats.protobuf_pieces import Limit, PieceReader, describe_messages
from nordiq_watch.ingest.formats.series import MAX_LABELS, NAME, SeriesBatch

MESSAGE = "prometheus.WriteRequest"

_FIELDS = {
    "Label": (("name", 1, "bytes"), ("value", 2, "bytes")),
    "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
    "TimeSeries": (("labels", 1, "Label[]"), ("samples", 2, "Sample[]"), ("histograms", 4, "bytes[]")),
    "WriteRequest": (("timeseries", 1, "TimeSeries[]"),),
}

_NAME = NAME.encode()
_FIRST_BYTES_OF_V2 = (b"\x22", b"\x2a")


def read_remote_write(body: bytes, *, limit_bytes: int, most: int, knows: Callable[[str], bool] = bool) -> SeriesBatch:
    """The series of a request's body; of those whose names `knows` does not know, the name alone.

    Those with too many labels, text that is not UTF-8, or native histograms in place of samples are passed over.

    BodyTooLarge if it unpacks to more than `limit_bytes`, TooManyRecords if it has more than `most` series or samples,
    or labels in proportion; RequestError if it cannot be parsed.
    """
    message, reader = unpack(body, limit_bytes), _reader()
    if message[:1] in _FIRST_BYTES_OF_V2:
        raise RequestError(f"{_unreadable()}, but one of 2.0: its Content-Type has to say so")
    pieces = reader.cut(
        message,
        elements=Limit(most, "series"),
        others=Limit(most, "other fields"),
        inside=Limit(most, "samples", slack=MAX_LABELS),
    )
    series = ParsedSeries(
        parse=lambda: reader.parse(pieces),
        count_labels=lambda one: len(one.labels),
        read_labels=_read_labels,
        read_name=_read_name,
        knows=knows,
    )
    return series.judge(most=most)


def unpack(body: bytes, limit_bytes: int) -> bytes:
    """The message in a body. Checks the length in front first, so that nothing too long is unpacked."""
    try:
        length = cramjam.snappy.decompress_raw_len(body)
        if length > limit_bytes:
            raise BodyTooLarge(f"the message has {length} bytes unpacked, more than server.max_body_mb allows")
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError:
        raise RequestError("the body is not snappy's block format, as remote write sends it") from None


def _read_name(series: Any) -> bytes | None:
    """Senders sort the labels, so that nothing but capitals stands before the name."""
    for label in series.labels:
        if label.name == _NAME:
            return cast(bytes, label.value)
        if label.name > _NAME:
            break
    return None


def _read_labels(series: Any) -> dict[str, str]:
    try:
        return {label.name.decode(): label.value.decode() for label in series.labels}
    except UnicodeDecodeError:
        raise UnreadableSeries("a label of a series is not UTF-8") from None


def _unreadable() -> RequestError:
    return RequestError(f"the body is no remote write 1.0 message (protobuf {MESSAGE})")


@cache
def _reader() -> PieceReader:
    message = describe_messages("prometheus", _FIELDS, top="WriteRequest")
    return PieceReader(message, "timeseries", 1, _unreadable)
