"""Columns of answers for property tests: any numbers, odd names, servers in several pieces."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nordiq_watch.live.columns import FleetColumns, Verdicts, round_shown

METRICS = ("cpu_user_pct", "mem_used_pct", "load_average", "swap_used_pct")
TARGETS = ("cpu_user_pct", "mem_used_pct")
PROFILES = ("Database", 'odd "one"')
LABELS: tuple[dict[str, str], ...] = ({}, {"team": "web", "env": 'odd "one"'}, {"team": "db"})
VERSIONS = ("tft_model_20250101_000000", "baseline")
NAN = float("nan")

_NAMES = ('with "quotes" and \\', "grün-\U0001f600", "line\nbreak", "plain")
_numbers = st.one_of(st.just(NAN), st.floats(0, 150, width=32), st.sampled_from([0.0, 1e-5, 99.99995, 1e7, 1e12]))
_scores = st.floats(0, 100) | st.just(NAN)


@st.composite
def fleets(draw: st.DrawFn) -> FleetColumns:
    """Up to 600 servers, which are written in several pieces, of a few kinds."""
    kinds = draw(st.integers(1, 4))
    count = draw(st.sampled_from([0, 1, kinds, 255, 257, 600]))
    rows = np.arange(count) % kinds
    steps = draw(st.integers(1, 4))
    current = draw(arrays.arrays(np.float32, (kinds, len(METRICS)), elements=_numbers))
    quantiles = draw(arrays.arrays(np.float32, (kinds, len(TARGETS), steps, 3), elements=_numbers))
    scores = draw(st.none() | arrays.arrays(np.float64, kinds, elements=_scores))
    verdicts = None if scores is None else Verdicts(scores=scores[rows].round(1), levels=(rows % 4).astype(np.uint8))
    return FleetColumns(
        servers=tuple(f"{_NAMES[row]}{number}" for number, row in enumerate(rows.tolist())),
        profiles=PROFILES,
        profile_codes=rows % 2,
        versions=VERSIONS,
        version_codes=rows % 3 % 2,
        metrics=METRICS,
        current=round_shown(current[rows]),
        targets=TARGETS,
        quantiles=quantiles[rows].swapaxes(-1, -2),
        interval_seconds=300,
        verdicts=verdicts,
        labels=LABELS,
        label_codes=None if count == kinds else rows % 3,
    )
