"""Hundreds of new names an hour, for days: memory and disk stay, lasting servers lose nothing. month.py is longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.month import LASTING, Town, assert_bounded, assert_lasting_servers_lost_nothing


@pytest.mark.slow
def test_five_days_of_names_that_come_and_go(tmp_path: Path) -> None:
    with Town(tmp_path, LASTING, jobs_an_hour=100, max_servers=1000, keep_days=1).open() as town:
        before, after = town.live(days=3), town.live(days=2)
        assert_bounded(before, after)
        assert_lasting_servers_lost_nothing(town)
