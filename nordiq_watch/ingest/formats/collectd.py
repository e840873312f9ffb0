"""collectd's JSON, as written by its plugin write_http: a list of value lists, times in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from nordiq_watch.api.sources import Drop
from nordiq_watch.conversion import converter
from nordiq_watch.errors import RequestError
from nordiq_watch.ingest.formats.parsed_series import UnreadableSeries
from nordiq_watch.ingest.formats.series import NAME, Series, SeriesBatch
from nordiq_watch.json_lists.lenient import is_utf8, too_many
from nordiq_watch.json_lists.lists import LongList, find_list

_EXPECTED = 'set Format "JSON" in the Node of <Plugin write_http>'
_COUNTERS = ("counter", "derive")
_ONLY_VALUE = "value"


class _ValueList(msgspec.Struct):
    """One measurement of a plugin; null is collectd's NaN."""

    values: list[float | None]
    dsnames: list[str]
    time: float
    host: str
    plugin: str
    type: str
    dstypes: list[str] = []
    plugin_instance: str = ""
    type_instance: str = ""


_convert = converter(_ValueList)
_decoder = msgspec.json.Decoder(list[_ValueList])


def read_collectd(body: bytes, *, most: int) -> SeriesBatch:
    """One series per value, named plugin_type or plugin_type_value. Value lists of another form are passed over, and so
    are counters that collectd turned into rates.

    RequestError if the body is no list; TooManyRecords beyond `most` value lists or values.
    """
    if not body.lstrip().startswith(b"["):
        raise RequestError(f"the body is no list of value lists: {_EXPECTED}")
    elements = find_list(b'{"":' + body + b"}", "", most=most, expected=_EXPECTED)
    samples = values = 0
    causes: Counter[Drop] = Counter()
    reason = ""
    for element in _read(elements):
        try:
            one = _check(element)
        except UnreadableSeries as why:
            causes[why.cause] += 1
            reason = reason or str(why)
            continue
        values += len(one.values)
        if values > most:
            raise too_many("values", most)
        samples += sum(value is not None for value in one.values)
    return SeriesBatch(_describe(elements), causes, reason, samples=samples)


def _describe(elements: LongList) -> Iterator[Series]:
    for element in _read(elements):
        try:
            one = _check(element)
        except UnreadableSeries:
            continue
        name = f"{one.plugin}_{one.type}"
        labels = {"host": one.host, "plugin_instance": one.plugin_instance, "type_instance": one.type_instance}
        labels = {label: text for label, text in labels.items() if text}
        for value_name, value in zip(one.dsnames, one.values, strict=True):
            if value is not None:
                full = name if value_name == _ONLY_VALUE else f"{name}_{value_name}"
                yield Series({**labels, NAME: full}, [(one.time, value)])


def _read(elements: LongList) -> Iterator[Any]:
    """The elements; those of a piece that are not all value lists as what they are in JSON."""
    for piece in elements.pieces():
        if piece.text is None:
            yield None
            continue
        try:
            read: list[Any] = _decoder.decode(piece.text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            read = []
        yield from read if len(read) == piece.count else piece.parse(_EXPECTED)


def _check(read: Any) -> _ValueList:
    try:
        element = _convert(read)
    except msgspec.ValidationError as error:
        raise UnreadableSeries(f"an element of the list is no value list of collectd ({error})") from None
    texts = (element.host, element.plugin, element.plugin_instance, element.type, element.type_instance)
    if not all(map(is_utf8, (*texts, *element.dsnames))):
        raise UnreadableSeries("a value list has a text that is not UTF-8")
    if len(element.values) != len(element.dsnames):
        raise UnreadableSeries(f"a value list has {len(element.values)} values and {len(element.dsnames)} dsnames")
    for kind, value in zip(element.dstypes, element.values, strict=False):
        if kind in _COUNTERS and value is not None and not value.is_integer():
            name = f"{element.plugin}_{element.type}"
            raise UnreadableSeries(f"{name} is a counter and comes as a rate: leave StoreRates false in write_http")
    return element
