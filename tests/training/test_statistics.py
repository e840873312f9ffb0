from __future__ import annotations

import numpy as np
import pytest
from support.small_fleet import fleet_of, series_of

from nordiq_watch.training.statistics import describe_values


def test_deciles_hold_a_tenth_each() -> None:
    values = np.stack([np.arange(1000.0), np.full(1000, 7.0)], axis=1)
    described = describe_values(fleet_of(series_of(values)))
    cpu, memory = described["cpu_user_pct"], described["mem_used_pct"]
    assert cpu["edges"] == pytest.approx([99.9 * number for number in range(1, 10)])
    assert cpu["shares"] == pytest.approx([0.1] * 10)
    assert (cpu["mean"], cpu["values"]) == (499.5, 1000)
    assert (memory["edges"], memory["shares"]) == ([7.0], [0.0, 1.0])


def test_all_servers_count_and_what_was_not_measured_does_not() -> None:
    one = series_of(np.full((10, 2), 1.0))
    values = np.full((30, 2), 3.0)
    values[:, 1] = np.nan
    described = describe_values(fleet_of(one, series_of(values, server="other")))
    assert (described["cpu_user_pct"]["mean"], described["cpu_user_pct"]["values"]) == (2.5, 40)
    assert described["mem_used_pct"]["values"] == 10
    nothing = np.full((5, 2), 1.0)
    nothing[:, 1] = np.nan
    assert list(describe_values(fleet_of(series_of(nothing)))) == ["cpu_user_pct"]
