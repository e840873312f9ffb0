from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nordiq_watch.training.intake import NOT_GIVEN, Intake, row_type
from nordiq_watch.training.repairs import Repairs
from nordiq_watch.training.spill import PartitionedRows

METRICS = ("cpu_user_pct", "mem_used_pct")


@pytest.fixture
def intake() -> Iterator[Intake]:
    with PartitionedRows(row_type(len(METRICS))) as rows:
        yield Intake(METRICS, rows, Repairs())


def chunk(servers: list[str], times: list[int], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"time": times, "server_name": servers, "cpu_user_pct": 1.0} | columns)


def test_servers_are_numbered_over_all_chunks(intake: Intake) -> None:
    intake.take(chunk(["b", "a", "b"], [1, 1, 2]))
    intake.take(chunk(["c", "a"], [1, 2]))
    assert list(intake.servers) == ["b", "a", "c"]
    rows = np.concatenate(list(intake.rows.read()))
    assert sorted(zip(rows["server"].tolist(), rows["time"].tolist(), strict=True)) == [
        *((0, 1), (0, 2), (1, 1), (1, 2)),
        (2, 1),
    ]


def test_a_step_back_in_time_counts_within_a_chunk_and_between_two(intake: Intake) -> None:
    intake.take(chunk(["a", "b", "a", "b"], [5, 1, 4, 2]))
    assert intake._repairs.backwards == 1
    intake.take(chunk(["b", "a"], [1, 4]))
    assert intake._repairs.backwards == 2


def test_a_label_that_is_not_given_is_not_one(intake: Intake) -> None:
    intake.take(chunk(["a", "a"], [1, 2], status=["", "idle"], profile=["X", ""]))
    intake.take(chunk(["a"], [3]))
    rows = np.concatenate(list(intake.rows.read()))
    assert rows["status"].tolist() == [NOT_GIVEN, 4, NOT_GIVEN]
    assert rows["profile"].tolist() == [1, 0, 0]
    assert list(intake.profiles) == ["", "X"]
    assert intake.has_status


def test_a_column_is_present_and_a_metric_measured_only_with_a_possible_value(intake: Intake) -> None:
    intake.take(chunk(["a", "a"], [1, 2], mem_used_pct=[np.nan, 500.0]))
    assert intake.present.tolist() == [True, True]
    assert intake.measured.tolist() == [True, False]
    assert not intake.has_status
