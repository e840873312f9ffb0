"""Files of InfluxDB's line protocol, as Telegraf's file output and `influxd inspect export-lp` write them.

Their lines go through the rules of the daemon's `/api/v2/write`, and become the slots that it would have made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow

from nordiq_watch.config.schema import Config
from nordiq_watch.errors import DatasetError
from nordiq_watch.importing.history_translator import Slots
from nordiq_watch.importing.replay import LONGEST_CHUNK_SECONDS, Replay
from nordiq_watch.importing.sample_spill import SampleSpill
from nordiq_watch.importing.series_labels import good_labels
from nordiq_watch.ingest.formats.line_protocol import BadLines, read_lines
from nordiq_watch.ingest.formats.mappings import TELEGRAF
from nordiq_watch.ingest.formats.series import NAME
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.tables.files import PACKED, packing_behind
from nordiq_watch.tables.source import unreadable

SUFFIXES = (".lp", ".line", ".influx")

_BLOCK_BYTES = 1 << 22
_ALL = 1 << 62
_UNITS = {"s": 11, "ms": 14, "us": 17, "ns": 19}
"""Of Unix times → how many digits they have at most."""

_EARLIEST, _LATEST = 1e8, 1e11
"""Unix time, 1973 to 5138: in another unit it would lie outside."""

_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_TIME = re.compile(rb"[^\n]* ([0-9]{1,19})[ \r]*$", re.MULTILINE)
_STATEMENT = re.compile(rb"^CREATE DATABASE", re.MULTILINE)
"""Of `influx_inspect export`, between comments."""


def read_line_files(paths: Sequence[Path], config: Config) -> Iterator[Slots | GivenLabels | str]:
    """Slots in the order of time, labels of servers, and lines about what was guessed and left out. Raises
    DatasetError, naming file and line, ConfigError, and OSError if the disk for temporary files is full.
    """
    replay = Replay(config, "influx", config.feeders.influx, TELEGRAF)
    interval = config.window.interval_seconds
    seconds = max(1, LONGEST_CHUNK_SECONDS // interval) * interval
    with SampleSpill(seconds) as spill:
        for path in paths:
            yield from _spill(path, replay, spill)
        for begin, series in spill.chunks():
            replay.take(series, begin=begin)
            yield replay.pop(replay.over)
        if not math.isnan(spill.end):
            replay.finish(spill.end)
            yield replay.pop(int(spill.end // interval) + 1)
    yield from good_labels(replay.given, replay.notes).values()
    yield from replay.notes.describe()


def _spill(path: Path, replay: Replay, spill: SampleSpill) -> Iterator[str]:
    unit, unknown, lines = "", 0, 0
    for block in _blocks(path):
        if not unit:
            unit = _guess_unit(path, block)
            yield f"times of {path.name} are taken for Unix time in {_WORDS[unit]}"
        bad = BadLines()
        for one in read_lines(block, bad, precision=unit, now=math.nan, most=_ALL):
            ((at, value),) = one.samples
            if math.isnan(at):
                raise DatasetError(f"{path}: a line of {one.labels[NAME]} has no time; lines of history need one")
            if not _EARLIEST <= at < _LATEST:
                raise DatasetError(_describe_time(path, one.labels[NAME], at, unit))
            if replay.knows(one.labels[NAME]):
                spill.add(one.labels, at, value)
            else:
                unknown += 1
        if bad.first is not None:
            number, reason = bad.first
            raise DatasetError(f"{path}, line {lines + number}: {reason}")
        lines += block.count(b"\n")
    if unknown:
        yield f"{unknown:,} values of {path.name} left out, of fields that no rule knows (feeders.influx.metrics)"


def _describe_time(path: Path, name: str, at: float, unit: str) -> str:
    digits = _UNITS[unit] - 11
    return (
        f"{path}: a line of {name} has the time {at * 10**digits:.0f}, no Unix time in {_WORDS[unit]} as in the first "
        "line; write all times of a file in one unit"
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time."""
    rest = b""
    try:
        with pyarrow.input_stream(path, compression=PACKED[packing_behind(path, SUFFIXES) or ""]) as stream:
            while block := stream.read(_BLOCK_BYTES):
                end = block.rfind(b"\n") + 1
                if end:
                    yield _STATEMENT.sub(b"#", rest + block[:end])
                    rest = block[end:]
                else:
                    rest += block
    except (OSError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from None
    if rest.strip():
        yield rest + b"\n"


def _guess_unit(path: Path, block: bytes) -> str:
    """By the size of the first time, as for other files."""
    found = _TIME.search(block)
    if found is None:
        raise DatasetError(f"{path}: no line ends with a time; write measurement,tag=value field=1 time")
    digits = len(found[1])
    return next(unit for unit, most in _UNITS.items() if digits <= most)
