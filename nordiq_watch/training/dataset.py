"""Turns a directory of samples into the fleet on the time grid: unbroken series of slots, one or more per server.

Impossible input raises DatasetError; what can be repaired is repaired by a stated rule and listed in
`FleetData.repairs`. The rules are those of the daemon's feed, so that a model is trained on the kind of data it will be
served. Files are read in chunks, and the numbers lie on disk, mapped into memory: a fleet may be larger than it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nordiq_watch.aggregation import Aggregation
from nordiq_watch.errors import DatasetError
from nordiq_watch.metrics import UNKNOWN_STATUS, profile_of
from nordiq_watch.records.arrays import BoolArray, CodeArray, FloatArray
from nordiq_watch.tables.files import find_files
from nordiq_watch.tables.forms import AS_THEY_ARE, Forms
from nordiq_watch.tables.notes import ReadingNotes
from nordiq_watch.tables.reader import find_metrics, read_chunks
from nordiq_watch.training.grid import cut_into_pieces, last_profiles, put_on_grid, sort_by_time
from nordiq_watch.training.intake import Intake, row_type
from nordiq_watch.training.repairs import Repairs
from nordiq_watch.training.row_pace import SlowRows, find_slow_rows, row_paces
from nordiq_watch.training.spill import MappedRows, PartitionedRows


@dataclass(frozen=True, slots=True)
class Series:
    """A server's samples over consecutive slots.

    values: (slots, metrics) float32, not to be written to: a metric is present in all slots or, if the server did not
    measure it, NaN in all of them. statuses: (slots,) uint8, codes of `metrics.STATUSES`; None if the dataset has no
    status.
    """

    server: str
    profile: str
    first_slot: int
    values: FloatArray
    statuses: CodeArray | None = None

    @property
    def measured(self) -> BoolArray:
        """(metrics,): True for metrics that this series has."""
        there: BoolArray = ~np.isnan(self.values[0])
        return there

    @property
    def end_slot(self) -> int:
        """The slot after the last one."""
        return self.first_slot + len(self.values)

    def between(self, begin_slot: int, end_slot: int) -> Series:
        """The part in [begin_slot, end_slot), which may be empty."""
        begin, end = max(0, begin_slot - self.first_slot), max(0, end_slot - self.first_slot)
        statuses = None if self.statuses is None else self.statuses[begin:end]
        return replace(self, first_slot=self.first_slot + begin, values=self.values[begin:end], statuses=statuses)


def lay_values(rows: Sequence[Sequence[Series]], begin_slot: int, end_slot: int, *, metrics: int) -> FloatArray:
    """(rows, slots, metrics) of [begin_slot, end_slot), NaN where nothing is known. rows: the series of each server."""
    laid = np.full((len(rows), end_slot - begin_slot, metrics), np.nan, dtype=np.float32)
    for row, pieces in enumerate(rows):
        for series in pieces:
            part = series.between(begin_slot, end_slot)
            at = part.first_slot - begin_slot
            laid[row, at : at + len(part.values)] = part.values
    return laid


def lay_statuses(rows: Sequence[Sequence[Series]], begin_slot: int, end_slot: int) -> CodeArray:
    """(rows, slots): as `lay_values`, with the unknown status where none is known."""
    laid = np.full((len(rows), end_slot - begin_slot), UNKNOWN_STATUS, dtype=np.uint8)
    for row, pieces in enumerate(rows):
        for series in pieces:
            part = series.between(begin_slot, end_slot)
            if part.statuses is not None:
                at = part.first_slot - begin_slot
                laid[row, at : at + len(part.statuses)] = part.statuses
    return laid


@dataclass(frozen=True, slots=True)
class FleetData:
    """A whole dataset. `metrics` are those that dataset and config have in common, in the config's order.

    filled_share: the share of slots that had no sample and repeat the one before. slow: servers whose rows come less
    often than the grid has slots. sparse: why no model should be made of it, None if nothing speaks against it.
    """

    directory: Path
    metrics: tuple[str, ...]
    interval_seconds: int
    series: tuple[Series, ...]
    repairs: tuple[str, ...]
    filled_share: float = 0.0
    slow: SlowRows | None = None
    sparse: str | None = None

    @property
    def servers(self) -> list[str]:
        return sorted({series.server for series in self.series})

    @property
    def has_status(self) -> bool:
        return self.series[0].statuses is not None


def load_dataset(
    directory: Path,
    *,
    metrics: Sequence[str],
    interval_seconds: int,
    aggregates: Mapping[str, str] | None = None,
    forms: Forms = AS_THEY_ARE,
) -> FleetData:
    """Reads every data file of `directory` and its sub-folders. Raises DatasetError, with file and row where possible,
    and OSError if the disk for temporary files is full. aggregates: as `window.aggregate` of the config.
    """
    with take_in([directory], metrics, forms=forms) as (columns, intake, repairs):
        names = tuple(np.array(columns)[intake.measured].tolist())
        series = _arrange(intake, interval_seconds, Aggregation(names, aggregates), repairs)
        repairs.ignored_labels = intake.labels.names
    return FleetData(
        directory,
        names,
        interval_seconds,
        series,
        repairs=tuple(repairs.describe(columns)),
        filled_share=repairs.filled_share,
        slow=repairs.slow,
        sparse=repairs.sparse,
    )


@contextmanager
def take_in(
    places: Sequence[Path], metrics: Sequence[str], *, forms: Forms = AS_THEY_ARE
) -> Iterator[tuple[list[str], Intake, Repairs]]:
    """places: files and directories. The metrics that the files may hold, all of their rows, and what was noted on the
    way. Raises as load_dataset.
    """
    forms.check(metrics)
    found_files = [find_files(place) for place in places]
    files, notes = list(dict.fromkeys(path for some in found_files for path in some.paths)), ReadingNotes()
    found = {metric for path in files for metric in find_metrics(path, metrics, forms=forms)}
    columns = [metric for metric in metrics if metric in found]
    repairs = Repairs(left_out=tuple(some.left_out for some in found_files if some.left_out))
    with PartitionedRows(row_type(len(columns))) as rows:
        intake = Intake(columns, rows, repairs)
        for path in files:
            for chunk in read_chunks(path, columns, forms=forms, notes=notes):
                intake.take(chunk)
        repairs.guesses = tuple(notes.describe())
        repairs.bad_labels, repairs.bad_label = intake.labels.left_out, intake.labels.example
        _check_measured(places, columns, intake, repairs)
        yield columns, intake, repairs


def _check_measured(places: Sequence[Path], columns: Sequence[str], intake: Intake, repairs: Repairs) -> None:
    directory = ", ".join(map(str, places))
    if not len(intake.servers):
        raise DatasetError(f"{directory}: its files have no rows with a metric of the config")
    present = np.array(columns)[intake.present].tolist()
    if not intake.measured.any():
        why = "; ".join([f"looked at {', '.join(present)}", *repairs.describe_values(present)])
        raise DatasetError(f"{directory}: no metric of the config has a value ({why})")
    repairs.unmeasured = np.array(columns)[intake.present & ~intake.measured].tolist()


def _arrange(intake: Intake, interval_seconds: int, aggregation: Aggregation, repairs: Repairs) -> tuple[Series, ...]:
    """All series, by server and time. Their values lie in one array, mapped from a file without a name."""
    values, statuses = MappedRows(np.float32, int(intake.measured.sum())), MappedRows(np.uint8)
    profiles: dict[int, int] = {}
    paces: list[FloatArray] = []
    places: list[tuple[int, int, slice]] = []  # server, first slot, rows of the arrays
    for unsorted in intake.rows.read():
        rows = sort_by_time(unsorted)
        profiles |= last_profiles(rows, repairs)
        grid = put_on_grid(rows, intake.measured, interval_seconds, aggregation=aggregation, repairs=repairs)
        repairs.sampled += len(grid.slots)
        paces.append(row_paces(grid.servers, grid.times))
        for piece in cut_into_pieces(grid):
            repairs.slots += len(piece.values)
            places.append((piece.server, piece.first_slot, values.append(piece.values)))
            statuses.append(piece.statuses)
    servers, labels = list(intake.servers), list(intake.profiles)
    repairs.servers, repairs.pieces = len(servers), len(places)
    repairs.slow = find_slow_rows(np.concatenate(paces), interval_seconds, servers=len(servers))
    all_values, all_statuses = values.map(), statuses.map()
    return tuple(
        Series(
            server=servers[server],
            profile=labels[profiles[server]] if server in profiles else profile_of(servers[server]),
            first_slot=first_slot,
            values=all_values[rows],
            statuses=all_statuses[rows] if intake.has_status else None,
        )
        for server, first_slot, rows in sorted(places, key=lambda place: (servers[place[0]], place[1]))
    )
