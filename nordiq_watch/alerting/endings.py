"""Which servers may end without an alert: hosts that are started and stopped by load, by `window.ended`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

from nordiq_watch.labels import LABEL_MARK, LabelsOf, no_labels, split


class Endings:
    """rules: patterns of names, as of files (`*`, `?`, `[...]`), or labels as `label:NAME:VALUE`. From any thread."""

    def __init__(self, rules: Sequence[str], labels_of: LabelsOf = no_labels) -> None:
        self._names = [re.compile(translate(rule)) for rule in rules if not rule.startswith(LABEL_MARK)]
        self._labels = [split(rule.removeprefix(LABEL_MARK)) for rule in rules if rule.startswith(LABEL_MARK)]
        self._labels_of = labels_of

    def __call__(self, server: str) -> bool:
        """Whether this one has ended, and is not missed, when it falls silent."""
        if any(pattern.match(server) for pattern in self._names):
            return True
        if not self._labels:
            return False
        labels = self._labels_of(server)
        return any(labels.get(name) == value for name, value in self._labels)
