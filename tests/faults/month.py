"""A simulated month of 500 new names an hour; `make test-long` runs it, because it takes ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.month import LASTING, Town, assert_bounded, assert_lasting_servers_lost_nothing


@pytest.mark.timeout(3600)
def test_a_month_of_500_new_names_an_hour(tmp_path: Path) -> None:
    with Town(tmp_path, LASTING, jobs_an_hour=500, max_servers=5000, keep_days=3).open() as town:
        week, month = town.live(days=7), town.live(days=24)
        print(f"\n{week}\n{month}")  # noqa: T201 - the figures that it is about
        assert_bounded(week, month)
        assert month.traced_mb < 100
        assert_lasting_servers_lost_nothing(town)
