"""The versions of remote write: which one a request is in, and what the answer has to say in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from flask import request
from werkzeug.exceptions import UnsupportedMediaType

from nordiq_watch.api.feed import Fed, NothingTaken
from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats import remote_write, remote_write_v2
from nordiq_watch.ingest.formats.series import SeriesBatch
from nordiq_watch.web.bodies import limit_bytes, read_packed

_READERS = {
    remote_write.MESSAGE: remote_write.read_remote_write,
    remote_write_v2.MESSAGE: remote_write_v2.read_remote_write_v2,
}


def read_remote_write(*, most: int, knows: Callable[[str], bool]) -> SeriesBatch:
    """The series of the present request; of those whose names `knows` does not know, the name alone.

    UnsupportedMediaType, after which a sender tries 1.0, for another message; RequestError for another packing of 1.0,
    whose senders do not know 415: vmagent would repeat the block for ever.
    """
    reader = _READERS.get(_message())
    is_packed = request.headers.get("Content-Encoding", "").strip().lower() == "snappy"
    if not is_packed and _message() == remote_write.MESSAGE:
        raise RequestError(f"{remote_write.MESSAGE} must be packed with snappy (Content-Encoding: snappy)")
    if reader is None or not is_packed:
        raise UnsupportedMediaType(f"This takes protobuf {' or '.join(_READERS)}, packed with snappy.")
    return reader(read_packed(), limit_bytes=limit_bytes(), most=most, knows=knows)


def describe_written(sent: SeriesBatch, body: Fed | NothingTaken, status: HTTPStatus) -> Mapping[str, str]:
    """The headers by which 2.0 says how much was kept; none for 1.0.

    Samples of series that no rule knows count as written: a sender takes 0 for a receiver that does not know 2.0.
    """
    if _message() != remote_write_v2.MESSAGE:
        return {}
    lost = len(body.rejected) + body.rejected_unnamed + body.series_refused + body.values_left_out
    samples = max(sent.samples - lost, 0) if status == HTTPStatus.OK else 0
    counts = {"Samples": samples, "Histograms": 0, "Exemplars": 0}
    return {f"X-Prometheus-Remote-Write-{kind}-Written": str(count) for kind, count in counts.items()}


def _message() -> str:
    return request.mimetype_params.get("proto", remote_write.MESSAGE)
