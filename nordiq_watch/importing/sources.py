"""Files of all forms → a table of slots. What `tables` does not read becomes Parquet of a temporary directory first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from nordiq_watch.config.schema import Config
from nordiq_watch.errors import DatasetError
from nordiq_watch.importing.line_files import SUFFIXES as LINE_SUFFIXES
from nordiq_watch.importing.line_files import read_line_files
from nordiq_watch.importing.row_file import RowFile
from nordiq_watch.importing.series_labels import add_labels
from nordiq_watch.importing.slot_table import SlotTable, read_slots
from nordiq_watch.importing.sysstat_files import SUFFIXES as JSON_SUFFIXES
from nordiq_watch.importing.sysstat_files import is_sysstat, read_sysstat, refuse_sar
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.tables.files import describe_left_out, is_beside_data, is_data, packing_behind, walk_files
from nordiq_watch.tables.forms import Forms

_MICROSECONDS = 1_000_000


@dataclass
class _Made:
    """files: one that `tables` can read → those that it was made of. labels: of servers, which it has not. notes: what
    was guessed and left out.
    """

    files: dict[Path, list[Path]] = field(default_factory=dict)
    labels: list[GivenLabels] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Sorted:
    """Places by what reads them. tables: files and folders that `tables` reads. left_out: what nothing reads, by its
    place in its folder; of folders that `tables` reads as a whole, it says so itself.
    """

    tables: list[Path] = field(default_factory=list)
    lines: list[Path] = field(default_factory=list)
    sysstat: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)


def read_history(places: Sequence[Path], config: Config, *, forms: Forms) -> SlotTable:
    """Of files and folders. Raises DatasetError, ConfigError, and OSError if the disk for temporary files is full."""
    found = _sort(places)
    with tempfile.TemporaryDirectory() as directory, _as_tables(found, config, forms, Path(directory)) as made:
        try:
            table = read_slots(
                [*found.tables, *made.files],
                metrics=config.metrics,
                interval_seconds=config.window.interval_seconds,
                aggregates=config.window.aggregate,
                forms=forms,
            )
        except DatasetError as error:
            raise _name_sources(error, made) from None
    left_out = [describe_left_out(found.left_out)] if found.left_out else []
    notes = (*left_out, *made.notes, *table.notes)
    labels = dict(table.labels)
    add_labels(labels, made.labels)
    return replace(table, notes=notes, units_are_known=not found.tables, labels=labels)


def _sort(places: Sequence[Path]) -> _Sorted:
    found = _Sorted()
    for place in places:
        if place.is_dir():
            _sort_folder(place, found)
        elif packing_behind(place, LINE_SUFFIXES) is not None and place.is_file():
            found.lines.append(place)
        elif packing_behind(place, JSON_SUFFIXES) is not None and place.is_file():
            found.sysstat.append(place)
        else:
            if place.is_file() and not is_data(place):
                refuse_sar(place)
            found.tables.append(place)
    return found


def _sort_folder(folder: Path, found: _Sorted) -> None:
    """A folder without files of our own forms is read, and told of, as a whole."""
    files = list(walk_files(folder))
    lines = [path for path in files if packing_behind(path, LINE_SUFFIXES) is not None]
    sysstat = [path for path in files if packing_behind(path, JSON_SUFFIXES) is not None and is_sysstat(path)]
    found.lines += lines
    found.sysstat += sysstat
    if not lines and not sysstat:
        found.tables.append(folder)
        return
    rest = [path for path in files if path not in {*lines, *sysstat}]
    found.tables += [path for path in rest if is_data(path)]
    found.left_out += [path.relative_to(folder) for path in rest if not is_data(path) and not is_beside_data(path)]


@contextmanager
def _as_tables(found: _Sorted, config: Config, forms: Forms, directory: Path) -> Iterator[_Made]:
    """In files that `tables` can read."""
    made = _Made()
    if found.lines:
        with RowFile(directory / "lines.parquet", config.metrics) as file:
            _add_lines(found.lines, config, file, made)
        made.files[file.path] = found.lines
    if found.sysstat:
        with RowFile(directory / "sysstat.parquet", config.metrics) as file:
            for row in chain.from_iterable(read_sysstat(path, zone=forms.zone) for path in found.sysstat):
                file.add(*row)
        made.files[file.path] = found.sysstat
    yield made


def _add_lines(paths: Sequence[Path], config: Config, file: RowFile, made: _Made) -> None:
    for part in read_line_files(paths, config):
        if isinstance(part, str):
            made.notes.append(part)
        elif isinstance(part, GivenLabels):
            made.labels.append(part)
        else:
            for (server, slot), values in sorted(part.items(), key=lambda item: (item[0][1], item[0][0])):
                file.add(server, slot * config.window.interval_seconds * _MICROSECONDS, values)


def _name_sources(error: DatasetError, made: _Made) -> DatasetError:
    """The same of the files that a person knows, with what was said of them."""
    text = str(error)
    for path, sources in made.files.items():
        if str(path) in text:
            first = f"{sources[0]}" + (f" and {len(sources) - 1} more" if len(sources) > 1 else "")
            text = "; ".join([text.replace(str(path), first), *made.notes])
    return DatasetError(text)
