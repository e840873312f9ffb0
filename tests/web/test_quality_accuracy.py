from __future__ import annotations

from typing import Any

import pytest
from support.web_world import VERSION, World

from nordiq_watch.api.enums import VersionState
from nordiq_watch.records.accuracy import AccuracyKey, AccuracyTotals, ErrorSums
from nordiq_watch.records.models import Version
from nordiq_watch.reload.version_status import VersionStatus

OTHER = "tft_model_20250131_143000"


def totals(
    model: str, sha256: str, horizon: int, *, at: float = 7200.0, metric: str = "cpu_user_pct"
) -> AccuracyTotals:
    return AccuracyTotals(
        AccuracyKey(model, sha256, metric, horizon), ErrorSums(10, 20.0, 5.0, 8.0, 30.0, 7.5), at - 3600, at
    )


@pytest.fixture
def compared(world: World) -> World:
    world.put_live(VERSION)
    world.services.quality.accuracy.all_totals = (
        totals(VERSION, "ab" * 32, 1800),
        totals(VERSION, "ab" * 32, 7200),
        totals(OTHER, "ef" * 32, 1800, at=9000),
    )
    return world


EXPECTED: dict[str, Any] = {
    "points": 10,
    "mae": 2.0,
    "pinball": 0.5,
    "coverage": 0.8,
    "last_value": {"mae": 3.0, "pinball": 0.75},
    "band": None,
    "baseline": None,
}


def test_nothing_came_due_yet(world: World) -> None:
    body = world.client.get("/admin/accuracy").json
    assert body == {"versions": [], "count": 0, "expected_coverage": 0.8, "pending": 0, "expired": 0}


def test_versions_stand_side_by_side(compared: World) -> None:
    body = compared.client.get("/admin/accuracy").json
    assert [(version["name"], version["is_current"]) for version in body["versions"]] == [
        (OTHER, False),
        (VERSION, True),
    ]
    assert body["versions"][1]["metrics"] == {"cpu_user_pct": {"30m": EXPECTED, "2h": EXPECTED}}
    assert body["versions"][1]["last"] == "1970-01-01T02:00:00+00:00"


@pytest.mark.parametrize("maker", ["baseline", "starter"])
def test_what_comes_with_the_program_has_one_entry_alone_and_beside_versions(compared: World, maker: str) -> None:
    compared.services.quality.accuracy.all_totals += (
        totals(maker, "", 1800, at=90_000),
        totals(maker, "ab" * 32, 1800, at=80_000),
    )
    body = compared.client.get("/admin/accuracy").json
    (entry,) = [version for version in body["versions"] if version["name"] == maker]
    assert (entry["sha256"], entry["is_current"]) == ("", False)
    assert entry["metrics"]["cpu_user_pct"]["30m"]["points"] == 20


def test_the_list_of_models_says_it_too(compared: World) -> None:
    version = Version(VERSION, compared.models_dir / VERSION, "20250130_143000", "print", 1, 0.0)
    unknown = Version("tft_model_1", compared.models_dir, None, "print", 1, 0.0)
    compared.reloads.versions = (
        VersionStatus(version, VersionState.LIVE, sha256="ab" * 32),
        VersionStatus(version, VersionState.AVAILABLE),
        VersionStatus(version, VersionState.LIVE, sha256="other bytes"),
        VersionStatus(unknown, VersionState.AVAILABLE),
    )
    models = compared.client.get("/admin/models").json["models"]
    assert [model["accuracy"] and list(model["accuracy"]["cpu_user_pct"]) for model in models] == [
        ["30m", "2h"],
        ["30m", "2h"],
        None,
        None,
    ]


def test_prometheus_has_it_too(compared: World) -> None:
    text = compared.stranger.get("/metrics").text
    labels = f'horizon_seconds="1800",metric="cpu_user_pct",sha256="abababababab",version="{VERSION}"'
    for name, value in (("mae", 2.0), ("coverage", 0.8), ("last_value_mae", 3.0), ("pinball", 0.5), ("points", 10.0)):
        assert f"nordiq_watch_accuracy_{name}{{{labels}}} {value}" in text
