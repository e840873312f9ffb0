from __future__ import annotations

from datetime import UTC, datetime

import pytest

from nordiq_watch.artifact.layout import age_key, is_candidate, is_refused, name_at, refused_name, timestamp_of


@pytest.mark.parametrize("name", ["tft_model_20250130_143000", "tft_model_best", "tft_model_v1.2-rc"])
def test_versions(name: str) -> None:
    assert is_candidate(name)


@pytest.mark.parametrize(
    "name",
    [
        ".tft_model_20250130_143000",
        "tft_model_20250130_143000.tmp",
        "tft_model_20250130_143000.partial",
        "tft_model_",
        "tft_model_../x",
        "tft_model_a b",
        "model_20250130_143000",
        "tft_model_20250130_143000\n",
    ],
)
def test_what_is_never_a_version(name: str) -> None:
    assert not is_candidate(name)


@pytest.mark.parametrize(
    ("name", "timestamp"),
    [
        ("tft_model_20250130_143000", "20250130_143000"),
        ("tft_model_20250230_143000", None),  # no such day
        ("tft_model_20250130_143000_b", None),
        ("tft_model_best", None),
    ],
)
def test_timestamp(name: str, timestamp: str | None) -> None:
    assert timestamp_of(name) == timestamp


def test_names_without_a_timestamp_come_before_all_others() -> None:
    names = ["tft_model_20250130_143000", "tft_model_zzz", "tft_model_20240101_000000", "tft_model_aaa"]
    assert sorted(names, key=age_key) == [
        "tft_model_aaa",
        "tft_model_zzz",
        "tft_model_20240101_000000",
        "tft_model_20250130_143000",
    ]


def test_name_at_is_a_version_of_that_moment() -> None:
    assert name_at(datetime(2025, 1, 30, 14, 30, tzinfo=UTC)) == "tft_model_20250130_143000"


def test_a_refused_version_is_no_version_and_is_recognised() -> None:
    name = refused_name("tft_model_20250130_143000")
    assert name == ".refused_tft_model_20250130_143000"
    assert is_refused(name)
    assert not is_candidate(name)
    assert not is_refused("tft_model_20250130_143000")
    assert not is_refused(".refused_notes")
