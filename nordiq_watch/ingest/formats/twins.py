"""Notices that one host is seen twice: a series that a host has once comes under two values of one label.

Two senders that see one host, or two hosts of one name: only who runs them knows. Sums are there twice until the label
is named in the config.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from nordiq_watch.ingest.formats.series import NAME
from nordiq_watch.ingest.formats.series_view import SeriesView
from nordiq_watch.ingest.formats.server_series import Place, ServerSeries

ONCE: Final = frozenset({"node_load1", "node_boot_time_seconds", "system_load1"})
"""Series that an exporter has once for its host."""

_MOST_REMEMBERED = 1 << 10
_SHOWN = 40


class Twins:
    """For one thread at a time. ignored: labels that tell no two series of a server apart."""

    def __init__(self, ignored: Iterable[str]) -> None:
        self._ignored = frozenset(ignored)
        self._first: OrderedDict[tuple[str, str], Mapping[str, str]] = OrderedDict()

    def find(self, server: ServerSeries, place: Place, slot: int, labels: Mapping[str, str]) -> str | None:
        """What is wrong, in words, if this series, which has a sample in the slot, and another one like it have come in
        two slots running, and one label tells them apart. Labels of the other one are known once it has come again.
        """
        name = labels.get(NAME, "")
        if name not in ONCE:
            return None
        own = server.tracks[place.key]
        if not _was_there(own, slot) or not any(
            track is not own and (_was_there(track, slot) or _was_there(track, slot - 1))
            for track in server.alike(place)
        ):
            return None
        first = self._first.pop((place.server, name), None)
        differing = sorted(self._differing(labels, first)) if first is not None else []
        if first is None or not differing:
            self._remember(place.server, name, labels)
            return None
        if len(differing) > 1:
            return None
        (label,) = differing
        values = " and ".join(sorted(repr(one.get(label, "")[:_SHOWN]) for one in (first, labels)))
        return (
            f"{name} of {place.server} comes with {label[:_SHOWN]} {values}: add it to feeders.replica_labels if it "
            "tells senders apart, to feeders.cluster_label if it tells hosts apart"
        )

    def _differing(self, one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
        names = (one.keys() | other.keys()) - self._ignored
        return {name for name in names if one.get(name, "") != other.get(name, "")}

    def _remember(self, server: str, name: str, labels: Mapping[str, str]) -> None:
        self._first[server, name] = dict(labels)
        if len(self._first) > _MOST_REMEMBERED:
            self._first.popitem(last=False)


def _was_there(track: SeriesView, slot: int) -> bool:
    """Whether the series has samples in the slot and in the one before."""
    return track.seen_before(slot + 1, 2) == 0b11
