"""Small windows, what they show, and made-up batches for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nordiq_watch.ingest.window import Window
from nordiq_watch.records.samples import WindowSnapshot
from support.batches import METRICS, Sample
from support.slow_window import Cell

LENGTH = 6


SILENT_SLOTS = 2


def make_window(*, length: int = LENGTH, max_servers: int = 1000) -> Window:
    return Window(
        METRICS,
        interval_seconds=300,
        length=length,
        max_servers=max_servers,
        silent_seconds=SILENT_SLOTS * 300 + 299,
    )


def shown(snapshot: WindowSnapshot) -> dict[str, tuple[str, dict[int, Cell]]]:
    """A snapshot in the words of the slow model."""
    servers = {}
    for row, server in enumerate(snapshot.servers):
        cells = {}
        for column in range(snapshot.values.shape[1]):
            values = snapshot.values[row, column]
            cell = Cell(
                {name: float(value) for name, value in zip(METRICS, values, strict=True) if not np.isnan(value)},
                int(snapshot.statuses[row, column]),
            )
            if cell != Cell():
                cells[snapshot.last_slot - snapshot.values.shape[1] + 1 + column] = cell
        servers[server] = (snapshot.profiles[row], cells)
    return servers


def samples(*, servers: str = "abcde", slots: tuple[int, int] = (0, 30)) -> st.SearchStrategy[Sample]:
    return st.builds(
        Sample,
        server=st.sampled_from(servers),
        slot=st.integers(*slots),
        values=st.dictionaries(st.sampled_from(METRICS), st.integers(0, 9).map(float), max_size=2),
        status=st.integers(0, 3),
        profile=st.sampled_from([None, None, "X", "Y"]),
        offset=st.sampled_from([0, 0, 1000, 299_999]),
    )


def one_profile_each(batch: list[Sample]) -> list[Sample]:
    """A batch carries one profile per server, as FeedReader makes it; it counts even if only another row is in time."""
    profiles = {sample.server: sample.profile for sample in batch if sample.profile is not None}
    return [
        Sample(sample.server, sample.slot, sample.values, sample.status, profiles.get(sample.server), sample.offset)
        for sample in batch
    ]


BATCHES = st.lists(st.lists(samples(), min_size=1, max_size=12).map(one_profile_each), max_size=12)
