"""Chunks of a file as it is laid out → rows by our names: a row per server and time, or per value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from nordiq_watch.errors import DatasetError
from nordiq_watch.names import find_fault, tidy_name
from nordiq_watch.tables.forms import KEY, LABEL_COLUMN, LABELS, SERVER, SERVER_LABELS, TIME, VALUE
from nordiq_watch.tables.layout import Layout
from nordiq_watch.tables.names_of_others import find_name
from nordiq_watch.tables.notes import ReadingNotes
from nordiq_watch.tables.numbers import first_true, parse_numbers
from nordiq_watch.tables.source import Source
from nordiq_watch.tables.times import TimeReader

_tidy_name, _find_fault = lru_cache(100_000)(tidy_name), lru_cache(100_000)(find_fault)  # names recur in every chunk


class ChunkParser:
    """For the chunks of one file, in their order."""

    def __init__(self, layout: Layout, metrics: Sequence[str], times: TimeReader, notes: ReadingNotes) -> None:
        self._layout = layout
        self._metrics = metrics
        self._times = times
        self._notes = notes
        self._parse = {"long": self._parse_long, "wide": self._parse_wide, "keyed": self._parse_keyed}[layout.shape]

    def parse(self, source: Source, raw: pd.DataFrame) -> pd.DataFrame:
        """As `reader.read_chunks` says. raw: the columns of the layout; of its texts, all but the time are categories.
        Raises DatasetError.
        """
        return self._parse(source, raw, self._times.read(source, raw[TIME]))

    def _parse_long(self, source: Source, raw: pd.DataFrame, times: pd.Series) -> pd.DataFrame:
        table = self._read_labels(source, raw, times)
        for metric in self._metrics:
            if metric in self._layout.values:
                table[metric] = self._scale(metric, parse_numbers(source, raw[metric], self._layout.values[metric]))
        return table

    def _parse_wide(self, source: Source, raw: pd.DataFrame, times: pd.Series) -> pd.DataFrame:
        """A row per server and time that has a value, server by server."""
        metric, columns = str(self._layout.metric), list(self._layout.values)
        servers = _parse_names(pd.Series(pd.Categorical(columns)), lambda _: f"{source.path}, header").to_numpy()
        numbers = [parse_numbers(source, raw[column], f"{metric} of {column}") for column in columns]
        values = np.concatenate([column.to_numpy() for column in numbers])
        there = np.flatnonzero(~np.isnan(values))
        table = pd.DataFrame({"time": times.to_numpy()[there % len(raw)], SERVER: servers[there // len(raw)]})
        table[metric] = self._scale(metric, pd.Series(values[there]))
        return table

    def _parse_keyed(self, source: Source, raw: pd.DataFrame, times: pd.Series) -> pd.DataFrame:
        """A row per value of a key that is a metric; the others are counted, and their values not looked at."""
        table = self._read_labels(source, raw, times)
        keys = raw[KEY].astype(object).where(raw[KEY].notna(), "").map(str)
        metrics = keys.map({key: self._find_metric(key) for key in keys.unique()})
        known = metrics.notna()
        self._notes.keys.update(keys[~known].tolist())
        numbers = parse_numbers(source, raw[VALUE].where(known), self._layout.values[VALUE])
        for metric in self._metrics:
            if (of_metric := metrics == metric).any():
                table[metric] = self._scale(metric, numbers.where(of_metric))
        return table[known].reset_index(drop=True)

    def _find_metric(self, key: str) -> str | None:
        said = self._layout.keys.get(key)
        metric = said or find_name(key, [one for one in self._metrics if one not in self._layout.keys.values()])
        if metric not in (None, key, said):
            self._notes.columns[key, str(metric)] = None
        return metric

    def _scale(self, metric: str, numbers: pd.Series) -> pd.Series:
        factor = self._layout.factors.get(metric)
        return numbers if factor is None else numbers * factor

    def _read_labels(self, source: Source, raw: pd.DataFrame, times: pd.Series) -> pd.DataFrame:
        """Time, server and labels of all rows."""
        table = pd.DataFrame({"time": times})
        fixed = [name for name in self._layout.constants if name.startswith(LABEL_COLUMN)]
        for role in (SERVER, *LABELS, SERVER_LABELS, *self._layout.label_columns, *fixed):
            if role in self._layout.columns:
                column = raw[role]
            elif role in self._layout.constants:
                column = pd.Series(pd.Categorical([self._layout.constants[role]] * len(raw)))
            else:
                continue
            table[role] = _parse_names(column, source.row) if role == SERVER else _relabel(column, str.strip)
        return table


def _parse_names(column: pd.Series, row: Callable[[int], str]) -> pd.Series:
    """Normalises names by the rule of the feed, so that the daemon recognises them. row: position → its name."""
    tidy = _relabel(column, _tidy_name)
    faults = {name: fault for name in tidy.unique() if (fault := _find_fault(name)) is not None}
    if faults and (place := first_true(tidy.isin(faults.keys()).to_numpy(dtype=bool))) is not None:
        raise DatasetError(f"{row(place)}: server_name {faults[tidy.iloc[place]]}")
    return tidy


def _relabel(column: pd.Series, change: Callable[[str], str]) -> pd.Series:
    """The categories of a column as texts, each through `change`; a missing one is ""."""
    texts = [*(change(str(label)) for label in column.cat.categories.tolist()), change("")]
    return pd.Series(np.array(texts, dtype=object)[column.cat.codes.to_numpy()], dtype=object)
