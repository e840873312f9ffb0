"""How files are to be read where they do not say it themselves: the options of `import`, `train` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo

from nordiq_watch.errors import DatasetError

TIME, SERVER, KEY, VALUE = "timestamp", "server_name", "key", "value"
LABELS = ("status", "profile")
SERVER_LABELS = "labels"
"""The column that has a server's own labels: an object of texts, as JSON or as a map."""
LABEL_COLUMN = "label:"
"""Before the name of a label whose values a column has, in chunks."""

ROLES = (TIME, SERVER, *LABELS, SERVER_LABELS, KEY, VALUE)
"""What a column may be, beside a metric. key: names the metric of its row, whose value is in the column `value`."""


@dataclass(frozen=True, slots=True)
class Forms:
    """columns: one of ROLES or a metric → the column, or the key, that holds it in the files, with *FACTOR after it
    where numbers are to be multiplied. wide: the metric of files that have a column per server. zone: of times that
    name none. labels: name of a label → the column that holds it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    wide: str | None = None
    zone: tzinfo = UTC
    labels: Mapping[str, str] = field(default_factory=dict)

    def check(self, metrics: Sequence[str]) -> None:
        """Raises DatasetError for a name that is neither a role nor one of the config's metrics."""
        for name in self.columns:
            if name not in ROLES and name not in metrics:
                raise DatasetError(
                    f"--column {name}={self.columns[name]}: {name} is none of {', '.join((*ROLES, *metrics))}"
                )
        if self.wide is not None and self.wide not in metrics:
            raise DatasetError(f"--wide {self.wide}: is none of the config's metrics: {', '.join(metrics)}")


AS_THEY_ARE = Forms()
