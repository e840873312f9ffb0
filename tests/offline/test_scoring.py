from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.models import drop_model
from support.small_fleet import fleet_table, write_dataset

from nordiq_watch import offline

OLD, NEW = "tft_model_20250130_143000", "tft_model_20250131_143000"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    drop_model(tmp_path, OLD)
    drop_model(tmp_path, NEW, band=2.0)
    return tmp_path


def test_a_report_is_the_same_of_a_frame_and_of_a_directory(models: Path, tmp_path: Path) -> None:
    table = fleet_table(slots=2 * 288)
    directory = write_dataset(tmp_path / "data", table)
    from_frame = offline.evaluate(models / OLD, table, days=1, live=models / NEW)
    from_directory = offline.evaluate(models / OLD, directory, days=1, live=models / NEW)
    assert from_frame.scores == from_directory.scores
    assert (from_frame.setting.origins, from_frame.setting.dataset) == (24, "DataFrame")
    assert from_directory.setting.dataset == str(directory)
    assert from_frame.live is not None
    assert from_frame.live.name == NEW


def test_scores_and_differences_are_tables(models: Path) -> None:
    report = offline.compare(models / OLD, models / NEW, fleet_table(slots=4 * 288), days=3)
    scores, differences = offline.score_table(report), offline.difference_table(report)
    assert len(scores) == len(report.scores)
    assert set(scores[scores.by == "all"].forecast) == {"a", "b", "last_value", "day_before"}
    found = differences[(differences.loss == "pinball") & (differences.metric == "cpu_user_pct")]
    assert found.verdict.tolist() == ["a"], "the bands of b are far too wide"


def test_a_report_can_be_drawn(models: Path, tmp_path: Path) -> None:
    report = offline.evaluate(models / OLD, fleet_table(slots=2 * 288), days=1)
    offline.draw(report, tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_a_slot_holds_what_the_config_says(models: Path) -> None:
    table = fleet_table(slots=2 * 288)
    later = table.assign(timestamp=table.timestamp + pd.Timedelta(minutes=1), cpu_user_pct=0.0)
    twice = pd.concat([table, later]).sort_values(["server_name", "timestamp"])
    largest = {"window": {"aggregate": {"cpu_user_pct": "max"}}}
    a, b = models / OLD, models / NEW
    assert offline.evaluate(a, twice, days=1, settings=largest).scores == offline.evaluate(a, table, days=1).scores
    assert offline.compare(a, b, twice, days=1, settings=largest).scores == offline.compare(a, b, table, days=1).scores


def test_options_reach_the_evaluation(models: Path) -> None:
    table = fleet_table(slots=2 * 288)
    report = offline.evaluate(
        models / OLD, table, days=0.5, every_seconds=7200, horizons_seconds=(300, 600), device="cpu"
    )
    assert (report.setting.days, report.setting.every_seconds, report.setting.origins) == (0.5, 7200, 6)
    assert {score.horizon_seconds for score in report.scores} == {300, 600, 1200}
