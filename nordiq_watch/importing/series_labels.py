"""Labels that series of the past give their servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nordiq_watch.importing.notes import Notes
from nordiq_watch.ingest.formats.given_labels import note_given
from nordiq_watch.labels import find_fault
from nordiq_watch.records.servers import GivenLabels


def good_labels(all_given: Mapping[str, GivenLabels], notes: Notes) -> dict[str, GivenLabels]:
    """Those that servers can have, by server; the others are noted."""
    good: dict[str, GivenLabels] = {}
    for server, given in all_given.items():
        faults = {name: find_fault(name, value) for name, value in given.labels.items()}
        for name, fault in faults.items():
            if fault is not None:
                notes.add(f"label {name}", 1, f"label {name} of {server} {fault}")
        kept = {name: value for name, value in given.labels.items() if faults[name] is None}
        good[server] = GivenLabels(server, given.at, kept)
    return good


def add_labels(known: dict[str, GivenLabels], more: Iterable[GivenLabels]) -> None:
    """Of a server's labels of two moments the newer ones count. known: by server; changed."""
    for one in more:
        note_given(known, one.server, one.labels, tuple(one.labels), at=one.at)
