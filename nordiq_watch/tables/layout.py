"""Which column of a file holds what: by its own name, by the names of other programs, or as the user says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from nordiq_watch.errors import DatasetError
from nordiq_watch.tables.forms import KEY, LABEL_COLUMN, LABELS, ROLES, SERVER, SERVER_LABELS, TIME, VALUE, Forms
from nordiq_watch.tables.names_of_others import find_name
from nordiq_watch.tables.notes import ReadingNotes

_SCALED = re.compile(r"(?P<theirs>.+)\*(?P<factor>[0-9.]+(?:[eE][+-]?[0-9]+)?)")
_SHOWN = 30
_INDEX = "__index_level_"  # a DataFrame's index, in Parquet


@dataclass(frozen=True, slots=True)
class Layout:
    """shape: a row per server and time (long), a column per server (wide), a row per value that names its metric
    (keyed). texts: role → column. values: metric → column if long, server → column if wide, VALUE → column if keyed.
    constants: role → the text of all rows, from folders such as host=web1. keys: key → metric, as the user says.
    factors: metric → what its numbers are multiplied by. metric: of all values if wide. own_labels: label of a server
    → its column.
    """

    shape: Literal["long", "wide", "keyed"]
    texts: Mapping[str, str]
    values: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    metric: str | None = None
    own_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """The name in a chunk → the column of the file."""
        return {**self.texts, **self.values, **self.label_columns}

    @property
    def label_columns(self) -> dict[str, str]:
        """The same of the labels of servers, under names that nothing else has."""
        return {LABEL_COLUMN + name: theirs for name, theirs in self.own_labels.items()}


def choose_layout(
    path: Path, found: Sequence[str], metrics: Sequence[str], *, forms: Forms, notes: ReadingNotes | None = None
) -> Layout:
    """Raises DatasetError, with what to type, for a file that lacks a column or has two for one thing."""
    notes = ReadingNotes() if notes is None else notes
    said, factors = _read_said(forms)
    constants = _read_folders(path)
    owners = _find_owners(path, found, metrics, said=said, notes=notes)
    texts = {role: owners[role] for role in (TIME, SERVER, *LABELS, SERVER_LABELS) if role in owners}
    fixed = {role: value for role, value in constants.items() if role not in texts}
    measured = {metric: owners[metric] for metric in metrics if metric in owners}
    own, of_folders = _find_labels(path, found, forms.labels, taken=owners)
    fixed |= of_folders
    wide = forms.wide or (None if SERVER in {*texts, *fixed} or measured else find_name(_stem(path), metrics))
    if wide is not None and TIME in texts:
        if forms.wide is None:
            notes.wide[wide] = None
        rest = _unique(path, [column for column in found if column != texts[TIME] and column])
        if rest and own:
            raise DatasetError(f"{path}: --label needs a row per server, and this file has a column per server")
        if rest:
            return Layout("wide", {TIME: texts[TIME]}, dict(zip(rest, rest, strict=True)), {}, {}, factors, wide)
    if not measured and KEY in owners and VALUE in owners and TIME in texts and SERVER in {*texts, *fixed}:
        keys = {theirs: ours for ours, theirs in said.items() if ours in metrics}
        texts |= {KEY: owners[KEY]}
        layout = Layout("keyed", texts, {VALUE: owners[VALUE]}, fixed, keys, factors, None, own)
        return _tell_unused(layout, found, notes)
    _check_complete(path, found, metrics, {*texts, *fixed, *measured})
    return _tell_unused(Layout("long", texts, measured, fixed, {}, factors, None, own), found, notes)


def _tell_unused(layout: Layout, found: Sequence[str], notes: ReadingNotes) -> Layout:
    used = set(layout.columns.values())
    other = [column for column in found if column and column not in used and not column.startswith(_INDEX)]
    notes.unused |= dict.fromkeys(other)
    return layout


def _find_labels(
    path: Path, found: Sequence[str], labels: Mapping[str, str], *, taken: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Label → its column, and what folders such as team=web say of all rows."""
    folders = {name: unquote(value) for name, _, value in (part.partition("=") for part in path.parts[:-1]) if value}
    columns: dict[str, str] = {}
    fixed: dict[str, str] = {}
    for name, theirs in labels.items():
        there = {**taken, **columns}
        owner = next((ours for ours, column in there.items() if column == theirs), None)
        if owner is not None:
            raise DatasetError(f"{path}: --label {name}={theirs}: this column is {owner}; say another one")
        if theirs in found:
            columns[name] = theirs
        elif theirs in folders:
            fixed[LABEL_COLUMN + name] = folders[theirs]
        else:
            raise DatasetError(f"{path}: has no column {theirs} for --label {name}; its columns are {_list(found)}")
    return columns, fixed


def _find_owners(
    path: Path, found: Sequence[str], metrics: Sequence[str], *, said: Mapping[str, str], notes: ReadingNotes
) -> dict[str, str]:
    """Role or metric → its column."""
    owners: dict[str, str] = {}
    for name, theirs in said.items():
        if theirs in found:
            owners[name] = theirs
        elif name in ROLES:
            raise DatasetError(f"{path}: has no column {theirs} for {name}; its columns are {_list(found)}")
    owners |= {name: name for name in (*ROLES, *metrics) if name not in said and name in found}
    taken = set(owners.values())
    for theirs in found:
        ours = None if theirs in taken else find_name(theirs, [*ROLES, *metrics])
        if ours is None or ours in said:
            continue
        if ours not in owners:
            owners[ours] = theirs
            notes.columns[theirs, ours] = None
        elif owners[ours] != ours and owners[ours] not in said.values() and owners[ours] != theirs:
            raise DatasetError(
                f"{path}: {owners[ours]} and {theirs} may both be {ours}; say which: --column {ours}={owners[ours]}"
            )
    _unique(path, [theirs for theirs in found if theirs in owners.values()])
    return owners


def _read_said(forms: Forms) -> tuple[dict[str, str], dict[str, float]]:
    """Our name → theirs, and the factors that follow it."""
    said, factors = {}, {}
    for ours, theirs in forms.columns.items():
        scaled = None if ours in ROLES else _SCALED.fullmatch(theirs)
        said[ours] = scaled["theirs"] if scaled else theirs
        if scaled:
            factors[ours] = float(scaled["factor"])
    return said, factors


def _read_folders(path: Path) -> dict[str, str]:
    """What folders such as host=web1 or profile=Database say of all rows."""
    constants = {}
    for part in path.parts[:-1]:
        name, equals, value = part.partition("=")
        role = find_name(name, (SERVER, *LABELS)) if equals else None
        if role is not None:
            constants[role] = unquote(value)
    return constants


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _unique(path: Path, columns: list[str]) -> list[str]:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise DatasetError(f"{path}: its header has {twice} more than once; rename or remove one of these columns")
    return columns


def _check_complete(path: Path, found: Sequence[str], metrics: Sequence[str], there: set[str]) -> None:
    if not any(found):
        raise DatasetError(f"{path}: is empty, without a line of column names; export it anew, or remove it")
    missing = [role for role in (TIME, SERVER) if role not in there]
    wanted = [f"--column {role}=COLUMN" for role in missing]
    if not there.intersection(metrics):
        missing.append(f"at least one metric of the config ({', '.join(metrics)})")
        wanted.append("--column METRIC=COLUMN")
    if missing:
        wide = "" if there.intersection(metrics) else "; for a file with a column per server, --wide METRIC"
        folder = "; or put the file of one server into a folder server_name=NAME" if SERVER in missing else ""
        raise DatasetError(
            f"{path}: lacks {', '.join(missing)}; its columns are {_list(found)}. Say which it is: "
            f"{' '.join(wanted)}{wide}{folder}"
        )


def _list(found: Sequence[str]) -> str:
    more = f", … ({len(found):,})" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
