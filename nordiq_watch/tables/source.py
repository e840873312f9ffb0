"""Where rows are from, for error messages."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from nordiq_watch.errors import DatasetError


class Source(NamedTuple):
    """Rows of a file count from 1, without the header of a CSV file."""

    path: Path
    first_row: int

    def row(self, position: int) -> str:
        """The row at this position of the chunk."""
        return f"{self.path}, row {self.first_row + position}"


def unreadable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path}: cannot be read: {' '.join(str(error).split())}")
