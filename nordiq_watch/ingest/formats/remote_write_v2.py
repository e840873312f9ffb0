"""Prometheus remote write 2.0: series whose labels are places in a table of texts.

https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/. Metadata, exemplars and created timestamps are skipped by
protobuf itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.parsed_series import ParsedSeries, UnreadableSeries
from nordiq_watch.ingest.formats.protobuf_pieces import Limit, PieceReader, describe_messages
from nordiq_watch.ingest.formats.remote_write import unpack
from nordiq_watch.ingest.formats.series import MAX_LABELS, NAME, SeriesBatch

MESSAGE = "io.prometheus.write.v2.Request"

_FIELDS = {
    "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
    "TimeSeries": (("labels_refs", 1, "uint32[]"), ("samples", 2, "Sample[]"), ("histograms", 3, "bytes[]")),
    "Request": (("symbols", 4, "bytes[]"), ("timeseries", 5, "TimeSeries[]")),
}

_SYMBOLS_PER_SERIES = 2
"""Texts that a body may have for each series that it may have: senders share them between series."""

_FIRST_BYTES_OF_V1 = (b"\x0a", b"\x1a")


def read_remote_write_v2(
    body: bytes, *, limit_bytes: int, most: int, knows: Callable[[str], bool] = bool
) -> SeriesBatch:
    """The series of a request's body; leaves out labels, passes over and raises as `read_remote_write` does."""
    message, reader = unpack(body, limit_bytes), _series_reader()
    if message[:1] in _FIRST_BYTES_OF_V1:
        raise RequestError(f"{_unreadable()}, but one of 1.0: its Content-Type must not say 2.0")
    symbols = _read_symbols(message, most)
    pieces = reader.cut(
        message,
        elements=Limit(most, "series"),
        others=Limit(_SYMBOLS_PER_SERIES * most, "symbols"),
        inside=Limit(most, "samples", slack=2 * MAX_LABELS),
    )
    series = ParsedSeries(
        parse=lambda: reader.parse(pieces),
        count_labels=lambda one: (len(one.labels_refs) + 1) // 2,
        read_labels=lambda one: _read_labels(one, symbols),
        read_name=lambda one: _read_name(one, symbols),
        knows=knows,
    )
    return series.judge(most=most)


def _read_symbols(message: bytes, most: int) -> list[str | None]:
    """The table of texts; None for what is not UTF-8: it costs the series that refer to it."""
    reader = _symbol_reader()
    symbols, series = Limit(_SYMBOLS_PER_SERIES * most, "symbols"), Limit(most, "series")
    pieces = reader.cut(message, elements=symbols, others=series)
    return [_decode(symbol) for some in reader.parse(pieces) for symbol in some]


def _decode(symbol: bytes) -> str | None:
    try:
        return symbol.decode()
    except UnicodeDecodeError:
        return None


def _read_name(series: Any, symbols: Sequence[str | None]) -> str | None:
    """Where it is the first label, as in a sorted list of them."""
    places = series.labels_refs
    if len(places) < 2 or max(places[0], places[1]) >= len(symbols) or symbols[places[0]] != NAME:
        return None
    name: str | None = symbols[places[1]]
    return name


def _read_labels(series: Any, symbols: Sequence[str | None]) -> dict[str, str]:
    places = series.labels_refs
    if len(places) % 2:
        raise UnreadableSeries("a series has a label without a value: the number of its labels_refs is odd")
    try:
        texts = [symbols[place] for place in places]
    except IndexError:
        raise UnreadableSeries(f"a series refers to a symbol beyond the {len(symbols)} that there are") from None
    known = [text for text in texts if text is not None]
    if len(known) < len(texts):
        raise UnreadableSeries("a label of a series is not UTF-8")
    return dict(zip(known[::2], known[1::2], strict=True))


def _unreadable() -> RequestError:
    return RequestError(f"the body is no remote write 2.0 message (protobuf {MESSAGE})")


@cache
def _message_class() -> Any:
    return describe_messages("io.prometheus.write.v2", _FIELDS, top="Request")


def _series_reader() -> PieceReader:
    return PieceReader(_message_class(), "timeseries", 5, _unreadable)


def _symbol_reader() -> PieceReader:
    return PieceReader(_message_class(), "symbols", 4, _unreadable)
