"""What was guessed while files were read, and what of them was left out: told in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_NAMED = 5


@dataclass
class ReadingNotes:
    """columns: (column, what it is taken for). wide: metrics that a file's name gave. units: of Unix times.
    keys: rows per key that is no metric. unused: columns that are nothing of ours. doubled: times in the hour that a
    zone has twice.
    """

    columns: dict[tuple[str, str], None] = field(default_factory=dict)
    wide: dict[str, None] = field(default_factory=dict)
    units: dict[str, None] = field(default_factory=dict)
    keys: Counter[str] = field(default_factory=Counter)
    unused: dict[str, None] = field(default_factory=dict)
    doubled: int = 0

    def describe(self) -> Iterator[str]:
        for theirs, ours in self.columns:
            yield f"{theirs} is taken for {ours}; else --column {ours}=COLUMN"
        for metric in self.wide:
            yield f"each column is taken for a server's {metric}, by the file's name; else --wide METRIC"
        for unit in self.units:
            yield f"times are taken for Unix time in {unit}"
        if self.doubled:
            yield f"{self.doubled:,} times in an hour that the zone has twice, taken for the first"
        if self.keys:
            named = ", ".join(key for key, _ in self.keys.most_common(_NAMED))
            more = ", …" if len(self.keys) > _NAMED else ""
            rows = f"{self.keys.total():,} rows of keys that are no metric left out"
            yield f"{rows}: {named}{more}; else --column METRIC=KEY"
        if self.unused:
            named = ", ".join(list(self.unused)[:_NAMED]) + (", …" if len(self.unused) > _NAMED else "")
            columns = "1 column" if len(self.unused) == 1 else f"{len(self.unused):,} columns"
            yield f"{columns} left out: {named}; else --column METRIC=COLUMN, or import --label COLUMN"
