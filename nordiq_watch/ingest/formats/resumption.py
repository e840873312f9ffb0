"""How a translator goes on from what an earlier process left: the state of its stop, and the log since then."""

from __future__ import annotations

import gc
import math
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nordiq_watch.ingest.formats.logged_series import LoggedSeries
from nordiq_watch.ingest.formats.series_log import OldSegment, SeriesLog
from nordiq_watch.ingest.formats.series_segments import Head, Segment, read_segments
from nordiq_watch.ingest.formats.translator import Translator
from nordiq_watch.ingest.formats.translator_state import SavedTranslator


@dataclass(frozen=True, slots=True)
class Stop:
    """What a translator knew at a stop. at: Unix time."""

    at: float
    known: SavedTranslator


def resume(
    translator: Translator, directory: Path, stop: Stop | None, *, retain_seconds: float, now: float
) -> str | None:
    """Makes a new translator know all that was known, and write on in its log.

    directory, retain_seconds: of the log. now: Unix time. Returns why the state of the stop is not taken, so that the
    log alone says what was before; None if it is. OSError if the log cannot be read.
    """
    name = translator.route
    with _without_collection():
        return _resume(translator, directory, stop, name, retain_seconds=retain_seconds, now=now)


def _resume(
    translator: Translator, directory: Path, stop: Stop | None, name: str, *, retain_seconds: float, now: float
) -> str | None:
    segments = list(read_segments(directory, name))
    down = _time_without_daemon(segments, stop, now)
    refusal, restored = None, False
    if stop is not None and stop.at + down - stop.known.down + retain_seconds > now:
        try:
            restored = translator.restore(stop.known, saved_at=now - (down - stop.known.down))
            refusal = None if restored else f"the rules of {translator.section} have changed"
        except ValueError as error:
            refusal = str(error)
    behind = stop.known.segment if stop is not None and restored else 0
    lost_until = _replay(translator, [one for one in segments if one.number > behind], down=down, now=now)
    head = _next_head(segments, lost_until, restored=restored, down=down, now=now)
    made = SeriesLog(directory, name, retain_seconds=retain_seconds)
    made.begin(
        head,
        behind=segments[-1].number if segments else behind,
        old=[OldSegment(one.path, one.last + down - one.head.down + retain_seconds, one.nbytes) for one in segments],
    )
    translator.go_on(made, known_since=max(head.known_since, head.lost_until))
    return refusal


@contextmanager
def _without_collection() -> Iterator[None]:
    """Nothing that is read is garbage: looking for some would take half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _time_without_daemon(segments: Sequence[Segment], stop: Stop | None, now: float) -> float:
    """Seconds since the first segment."""
    last, down = now, 0.0
    if segments:
        last, down = segments[-1].last, segments[-1].head.down
    if stop is not None and (not segments or stop.known.segment >= segments[-1].number):
        last, down = stop.at, stop.known.down
    return down + max(0.0, now - last)


def _next_head(segments: Sequence[Segment], lost_until: float, *, restored: bool, down: float, now: float) -> Head:
    known_since = min(segments[-1].head.known_since, now) if segments else -math.inf if restored else now
    return Head(now, known_since, lost_until, down)


def _replay(translator: Translator, segments: Sequence[Segment], *, down: float, now: float) -> float:
    """Returns up to when the log lacks samples that came, Unix time."""
    lost_until = -math.inf
    series = LoggedSeries(translator.find_place)
    replay = translator.start_replay(series)
    translator.know_since(lost_until)
    number = segments[0].number if segments else 0
    for segment in segments:
        found = segment.head.lost_until if segment.number == number else now
        if found > lost_until:
            lost_until = found
            replay.flush()
            translator.doubt(lost_until)
        numbers = array("I")
        for record in segment.read():
            series.note(record, numbers)
            replay.take(record, numbers, shift=down - segment.head.down)
        if not segment.is_whole:
            lost_until = now
            replay.flush()
            translator.doubt(lost_until)
        number = segment.number + 1
    replay.flush()
    return lost_until
