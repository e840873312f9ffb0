"""Labels of servers in a dataset's rows: of each label of a server the newest value counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from nordiq_watch.labels import find_fault, read_object
from nordiq_watch.records.arrays import IntArray
from nordiq_watch.records.servers import GivenLabels
from nordiq_watch.tables.forms import LABEL_COLUMN, SERVER_LABELS

_MICROSECONDS = 1_000_000


class OwnLabels:
    """left_out: labels that cannot be, of how many servers and texts. example: what is wrong with the first."""

    def __init__(self) -> None:
        self._newest: dict[int, dict[str, tuple[int, str]]] = {}
        self.left_out = 0
        self.example: str | None = None

    def take(self, chunk: pd.DataFrame, servers: IntArray, times: IntArray) -> None:
        """servers (rows,): numbers. times (rows,): microseconds since 1970."""
        for column in chunk.columns:
            if column == SERVER_LABELS or column.startswith(LABEL_COLUMN):
                self._take_column(column, chunk[column], servers, times)

    def _take_column(self, column: str, cells: pd.Series, servers: IntArray, times: IntArray) -> None:
        codes, texts = pd.factorize(cells)
        read = [self._read(column, text) for text in texts]
        rows = pd.DataFrame({"server": servers, "code": codes, "time": times})
        newest = rows.groupby(["server", "code"], as_index=False)["time"].max()
        for server, code, at in newest.to_numpy().tolist():
            known = self._newest.setdefault(server, {}) if read[code] else {}
            for name, value in read[code].items():
                if name not in known or known[name][0] <= at:
                    known[name] = (at, value)

    def _read(self, column: str, text: str) -> Mapping[str, str]:
        """What a cell says; nothing of an empty one."""
        if not text:
            return {}
        if column == SERVER_LABELS:
            labels, faults = read_object(text.encode())
        else:
            name = column.removeprefix(LABEL_COLUMN)
            fault = find_fault(name, text)
            labels, faults = ({name: text}, []) if fault is None else ({}, [(name, fault)])
        self.left_out += len(faults)
        if faults and self.example is None:
            self.example = " ".join(faults[0])
        return labels

    @property
    def names(self) -> list[str]:
        return sorted({name for labels in self._newest.values() for name in labels})

    def of(self, servers: Sequence[str]) -> dict[str, GivenLabels]:
        """By server. servers: the names of the numbers."""
        return {
            servers[number]: GivenLabels(
                servers[number],
                max(at for at, _ in labels.values()) / _MICROSECONDS,
                {name: value for name, (_, value) in sorted(labels.items())},
            )
            for number, labels in self._newest.items()
        }
