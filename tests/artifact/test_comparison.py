from __future__ import annotations

import pytest

from nordiq_watch.artifact.comparison import describe_errors
from nordiq_watch.spec import Comparison, TrainingInfo


@pytest.mark.parametrize(
    ("comparison", "words"),
    [
        (None, None),
        (Comparison(windows=5, beside_last_value=0.8604, passed=True), "0.860 times last value's"),
        (
            Comparison(windows=5, beside_last_value=0.86, passed=True, newest="tft_model_a", beside_newest=0.97),
            "0.860 times last value's, 0.970 times tft_model_a's",
        ),
        (
            Comparison(windows=5, beside_last_value=0.86, passed=True, newest="tft_model_a", newest_skipped="why"),
            "0.860 times last value's",
        ),
        (
            Comparison(windows=5, beside_last_value=1.3, passed=False),
            "1.300 times last value's (dropped with --drop-anyway)",
        ),
        (Comparison(windows=5, beside_last_value=None, passed=False), "not finite (dropped with --drop-anyway)"),
        (Comparison(windows=5, beside_last_value=None, passed=True), None),
    ],
)
def test_a_version_is_described_by_its_figures(comparison: Comparison | None, words: str | None) -> None:
    assert describe_errors(TrainingInfo(comparison=comparison)) == words


def test_a_directory_without_training_info_has_none() -> None:
    assert describe_errors(None) is None
