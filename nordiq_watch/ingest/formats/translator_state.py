"""What translators know of open slots, as it lies on the disk between a stop of the daemon and its next start.

One file, state/collectors.msgpack, written when the daemon stops. The log (`series_log`) has what was sent since, and
what the file says besides: where that is damaged, of another version, or of other rules, all of the log is read.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from pathlib import Path

import msgspec

from nordiq_watch.atomic_file import replace_file
from nordiq_watch.ingest.formats.limits import Limits
from nordiq_watch.ingest.formats.series_rules import Part
from nordiq_watch.ingest.formats.server_names import Key
from nordiq_watch.ingest.formats.server_series import ClosedSlots, OpenSlot, Place, ServerSeries
from nordiq_watch.ingest.formats.spans import AnyTrack, Span, SpanTrack
from nordiq_watch.ingest.formats.tracks import Cell, Track

_VERSION = 3
_READABLE = (2, _VERSION)
"""The second version has no spans: deltas were samples of their growth per second."""


class SavedSpans(msgspec.Struct, array_like=True):
    """Of a series of deltas. last: of the newest span. past: end of the newest that is in no cell, and whether it is
    the series' end. cells: slot, starts, ends, rates; as doubles of this machine.
    """

    last: float
    past: tuple[float, bool]
    cells: list[tuple[int, bytes, bytes, bytes]]


class SavedTrack(msgspec.Struct, array_like=True):
    """cells: slot, times, values; both as doubles of this machine. newest, seen: as of a Track, the bits as bytes.
    spans: None but for a series of deltas.
    """

    key: Key
    role_bits: bytes
    parts: tuple[tuple[int, Part], ...]
    lasting: bool
    cells: list[tuple[int, bytes, bytes]]
    newest: int
    seen: bytes
    spans: SavedSpans | None = None

    @property
    def roles(self) -> int:
        """As of a Place: of many rules, more bits than a number of msgpack has."""
        return int.from_bytes(self.role_bits, "little")


class SavedSlot(msgspec.Struct, array_like=True):
    number: int
    deadline: float
    oldest: float
    newest: float
    said: dict[str, float]
    kept: list[str]
    others: list[str] = []


class SavedServer(msgspec.Struct, array_like=True):
    """span_ends: where deltas ended, as doubles of this machine."""

    name: str
    arrived: float
    heard: float
    closed_first: int
    closed_bits: bytes
    slots: list[SavedSlot]
    tracks: list[SavedTrack]
    prints: dict[int, bytes]
    span_ends: bytes = b""


class SavedTranslator(msgspec.Struct, array_like=True):
    """rules: a digest of all that decides what a series is. segment, down: of the log when it was saved."""

    rules: str
    servers: list[SavedServer]
    segment: int
    down: float


class _Saved(msgspec.Struct, array_like=True):
    version: int
    saved_at: float
    translators: dict[str, SavedTranslator]


_fields = msgspec.msgpack.Decoder(list[msgspec.Raw])
_decoder = msgspec.msgpack.Decoder(_Saved)


def write_state(path: Path, translators: Mapping[str, SavedTranslator], *, now: float) -> None:
    """OSError if it cannot be written."""
    replace_file(path, msgspec.msgpack.encode(_Saved(_VERSION, now, dict(translators))), mode=0o600)


def read_state(path: Path) -> tuple[float, Mapping[str, SavedTranslator]] | None:
    """When it was written, Unix time, and what; None if there is none.

    OSError, or ValueError for one that cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        version = _fields.decode(content)[:1]
        if not version or msgspec.msgpack.decode(version[0]) not in _READABLE:
            raise ValueError("it is of another version")
        saved = _decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is damaged ({error})") from None
    return saved.saved_at, saved.translators


def save_server(name: str, server: ServerSeries) -> SavedServer:
    closed = server.closed
    return SavedServer(
        name=name,
        arrived=server.arrived,
        heard=server.heard,
        closed_first=closed.first,
        closed_bits=closed.bits.to_bytes((closed.bits.bit_length() + 7) // 8, "little"),
        slots=[
            SavedSlot(
                slot.number, slot.deadline, slot.oldest, slot.newest, slot.said, sorted(slot.kept), sorted(slot.others)
            )
            for slot in server.slots.values()
        ],
        tracks=[_save_track(server.places[key], track) for key, track in server.tracks.items()],
        prints=server.prints.save(),
        span_ends=server.chains.ends.tobytes(),
    )


def _save_track(place: Place, track: AnyTrack) -> SavedTrack:
    spans, cells = None, []
    if isinstance(track, SpanTrack):
        spans = _save_spans(track)
    else:
        cells = [(number, cell.times.tobytes(), cell.values.tobytes()) for number, cell in track.cells.items()]
    return SavedTrack(
        key=place.key,
        role_bits=place.roles.to_bytes((place.roles.bit_length() + 7) // 8, "little"),
        parts=place.parts,
        lasting=track.lasting,
        cells=cells,
        newest=track.newest,
        seen=track.seen.to_bytes((track.seen.bit_length() + 7) // 8, "little"),
        spans=spans,
    )


def _save_spans(track: SpanTrack) -> SavedSpans:
    at, rate = track.past
    cells = [
        (number, cell.starts.tobytes(), cell.ends.tobytes(), cell.rates.tobytes())
        for number, cell in track.cells.items()
    ]
    return SavedSpans(track.last, (at, math.isnan(rate)), cells)


def restore_server(saved: SavedServer, server: ServerSeries, *, limits: Mapping[int, Limits], pause: float) -> None:
    """Fills a new server. limits: by roles. pause: seconds since it was saved, in which nothing could come: slots stay
    open for as long beyond. Series beyond the budget are left out.
    """
    server.arrived, server.heard, server.swept = saved.arrived + pause, saved.heard, saved.arrived + pause
    server.since = min((slot.oldest for slot in saved.slots), default=math.inf)
    server.closed = ClosedSlots(server.closed.length, saved.closed_first, int.from_bytes(saved.closed_bits, "little"))
    for slot in saved.slots:
        server.slots[slot.number] = OpenSlot(
            slot.number,
            slot.deadline + pause,
            slot.oldest,
            slot.newest,
            said=slot.said,
            waits=True,
            kept=frozenset(slot.kept),
            others=frozenset(slot.others),
        )
    server.prints.restore(saved.prints)
    server.budget.hold(server.prints.weight)
    server.chains.ends.frombytes(saved.span_ends)
    for one in saved.tracks:
        if server.budget.take():
            place = Place(saved.name, one.key, one.roles, one.parts, limits[one.roles])
            if one.spans is None:
                _fill(server.add_track(place, Track()), one)
            else:
                _fill_spans(server.add_track(place, SpanTrack(server.chains, one.roles)), one.spans)
            track = server.tracks[one.key]
            track.lasting = one.lasting
            track.newest, track.seen = one.newest, int.from_bytes(one.seen, "little")
            server.budget.hold(track.size)


def _fill(track: Track, saved: SavedTrack) -> None:
    for number, times, values in saved.cells:
        cell = track.cells[number] = Cell()
        cell.times, cell.values = array("d", times), array("d", values)
        if len(cell.times) != len(cell.values) or not cell.times:
            raise ValueError("it is damaged (a series has more times than values)")
        track.last = max(track.last, cell.times[-1])


def _fill_spans(track: SpanTrack, saved: SavedSpans) -> None:
    for number, *columns in saved.cells:
        starts, ends, rates = (array("d", column) for column in columns)
        if not len(starts) == len(ends) == len(rates) > 0:
            raise ValueError("it is damaged (a series has more ends than starts)")
        for span in map(Span, starts, ends, rates):
            track.put(span, [number])
    at, is_end = saved.past
    track.last, track.past = saved.last, (at, math.nan if is_end else 0.0)
