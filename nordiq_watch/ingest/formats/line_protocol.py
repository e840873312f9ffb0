"""InfluxDB's line protocol, as Telegraf and InfluxDB's clients write it:

    measurement,tag=value,… field=value,… timestamp

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/. Each numeric field is a series named
measurement_field, with the tags as labels. A bad line costs itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from nordiq_watch.api.sources import Drop
from nordiq_watch.ingest.formats.series import MAX_LABELS, NAME, Series
from nordiq_watch.json_lists.lenient import too_many

MAX_LINE_BYTES = 64 * 1024

PRECISIONS: Mapping[str, float] = {
    "": 1e-9, "ns": 1e-9, "n": 1e-9, "us": 1e-6, "µs": 1e-6, "u": 1e-6, "µ": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0,
    "h": 3600.0,
}  # fmt: skip
"""What a timestamp is counted in, by the names that InfluxDB 1 and 2 have → seconds."""

_KEY = rb"(?:[^,= \\\n]++|\\[^\n]|\\(?=\n|\Z))++"
_MEASUREMENT = rb"(?:[^, \\\n]++|\\[^\n]|\\(?=\n|\Z))++"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_VALUE = rb'(?:%s|[^", \n\r]++)' % _STRING
_FIELD = rb"%s=%s" % (_KEY, _VALUE)
_LINE = re.compile(
    rb"(?P<measurement>%s)(?P<tags>(?:,%s=%s)*+) ++"
    rb"(?P<fields>%s(?:,%s)*+)(?: ++(?P<time>-?[0-9]{1,19}))? *+\r?(?:\n|\Z)"
    % (_MEASUREMENT, _KEY, _KEY, _FIELD, _FIELD),
    re.DOTALL,
)
_TAG = re.compile(rb",(%s)=(%s)" % (_KEY, _KEY))
_FIELD_PAIR = re.compile(rb"(%s)=(%s)(?:,|\Z)" % (_KEY, _VALUE), re.DOTALL)
_PASSED_OVER = re.compile(rb"(?:[ \t\r\n]++|#[^\n]*+\n)*+")
_AT_ONCE_BYTES = 2**20  # an expression holds the interpreter until it is done
_ESCAPED = re.compile(r"\\([,= ])")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+")
_NOT_FINITE = re.compile(rb"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
"""No values of line protocol, but programs write them: each costs itself, not its line."""
_INTEGER = re.compile(rb"-?[0-9]{1,20}[iu]")
_BOOLEANS = frozenset(b"t T true True TRUE f F false False FALSE".split())
_COMMENT, _NEWLINE = ord("#"), ord("\n")
_MAX_NUMBER = 400
_HEAD = re.compile(rb"%s(?:,%s=%s)*+ " % (_MEASUREMENT, _KEY, _KEY))


class _BadLine(Exception):
    def __init__(self, reason: str, drop: Drop = Drop.INVALID) -> None:
        super().__init__(reason)
        self.drop = drop


@dataclass(slots=True)
class BadLines:
    """Lines that are not taken. first: number of the first, from 1, and what is wrong with it."""

    counts: dict[Drop, int] = field(default_factory=dict)
    first: tuple[int, str] | None = None

    def note(self, number: int, reason: str, drop: Drop) -> None:
        self.counts[drop] = self.counts.get(drop, 0) + 1
        self.first = self.first or (number, reason)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def read_lines(body: bytes, bad: BadLines, *, precision: str, now: float, most: int) -> Iterator[Series]:
    """One series per numeric field. Bad lines are noted in `bad` while the others are read.

    precision: a key of PRECISIONS. now: Unix seconds, for lines without a time. TooManyRecords, before anything is
    read, if there are more than `most` lines or fields.
    """
    _check_size(body, most)
    return _read(body, bad, PRECISIONS[precision], now)


def _check_size(body: bytes, most: int) -> None:
    if body.count(b"\n") >= most and next(islice(_lines(body), most, None), None) is not None:
        raise too_many("lines", most)
    if body.count(b"=") <= most:
        return
    fields = 0
    for _, line in _lines(body):
        if not isinstance(line, str):
            fields += sum(1 for _ in _FIELD_PAIR.finditer(line["fields"]))
        if fields > most:
            raise too_many("fields", most)


def _read(body: bytes, bad: BadLines, unit: float, now: float) -> Iterator[Series]:
    for number, line in _lines(body):
        if isinstance(line, str):
            bad.note(number, line, Drop.INVALID)
            continue
        at = now if line["time"] is None else int(line["time"]) * unit
        try:
            yield from _series_of(line, at)
        except _BadLine as error:
            bad.note(number, str(error), error.drop)


def _lines(body: bytes) -> Iterator[tuple[int, re.Match[bytes] | str]]:
    """The lines with their numbers, comments and blank ones left out; in place of a bad one, what is wrong with it."""
    position, number, end = 0, 1, len(body)
    while position < end:
        until = min(end, position + _AT_ONCE_BYTES)
        passed_over = _PASSED_OVER.match(body, position, until)
        assert passed_over is not None  # it matches nothing, too
        number += body.count(b"\n", position, passed_over.end())
        position = passed_over.end()
        if position == until:
            continue
        if body[position] == _COMMENT:  # the last line, or a long one
            after = _next_line(body, position)
        else:
            limit = min(end, position + MAX_LINE_BYTES)
            line = _LINE.match(body, position, limit)
            is_cut = line is not None and line.end() == limit < end and body[limit - 1] != _NEWLINE
            if line is None or is_cut:
                after = _next_line(body, position)
                yield number, _explain(body, position, after)
            else:
                after = line.end()
                yield number, line
        number += body.count(b"\n", position, after)
        position = after


def _next_line(body: bytes, position: int) -> int:
    newline = body.find(b"\n", position)
    return len(body) if newline < 0 else newline + 1


def _explain(body: bytes, position: int, end: int) -> str:
    """What is wrong with a line."""
    if end - position >= MAX_LINE_BYTES:
        return f"a line may have {MAX_LINE_BYTES:,} bytes"
    head = _HEAD.match(body, position, end)
    if head is None:
        return "it has no measurement, a tag without a value, or no fields: write measurement,tag=value field=1 time"
    return "a field is no name=value, a text lacks its last quote, or the time is no whole number"


def _series_of(line: re.Match[bytes], at: float) -> Iterator[Series]:
    tags = _TAG.findall(line["tags"])
    if len(tags) > MAX_LABELS:
        raise _BadLine(f"it has {len(tags)} tags; at most {MAX_LABELS} are taken", Drop.TOO_MANY_LABELS)
    try:
        labels = {_plain(name): _plain(value) for name, value in tags}
        measurement = _plain(line["measurement"])
        fields = [(_plain(name), _read_value(value)) for name, value in _FIELD_PAIR.findall(line["fields"])]
    except UnicodeDecodeError:
        raise _BadLine("it is not UTF-8") from None
    for name, number in fields:
        if number is not None:
            yield Series({**labels, NAME: f"{measurement}_{name}"}, [(at, number)])


def _plain(text: bytes) -> str:
    """Without escapes: a backslash stands for itself, but before a comma, an equals sign or a blank."""
    found = text.decode()
    return _ESCAPED.sub(r"\1", found) if "\\" in found else found


def _read_value(text: bytes) -> float | None:
    """A number; None for a text or a truth value."""
    if text.startswith(b'"') or text in _BOOLEANS:
        return None
    if _INTEGER.fullmatch(text):
        return float(text[:-1])
    if (_NUMBER.fullmatch(text) and len(text) <= _MAX_NUMBER) or _NOT_FINITE.fullmatch(text):
        return float(text)
    raise _BadLine(f"{text[:40].decode(errors='replace')!r} is no number, text or truth value")
