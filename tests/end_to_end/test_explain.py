"""Explanations of a real daemon on real data, by trained networks: a swap changes them without a restart."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.fleet import METRICS, RealFleet
from support.trained_models import TrainedModels

pytestmark = pytest.mark.slow

SECTIONS: dict[str, Any] = {"window": {"length": 48}, "training": {"max_encoder_length": 48}}
SERVERS, END = 5, 600


def move_in(daemon: DaemonProcess, directory: Path) -> str:
    copy = daemon.root / directory.name
    shutil.copytree(directory, copy)
    copy.rename(daemon.models / directory.name)
    daemon.wait_for_live(directory.name)
    return directory.name


def answers_by(daemon: DaemonProcess, name: str) -> bool:
    return bool(daemon.predictions().get("metadata", {}).get("model_version") == name)


def test_a_swap_changes_the_explanation(trained_models: TrainedModels, tmp_path: Path) -> None:
    fleet = RealFleet()
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        daemon.feed(list(fleet.records(END - 48, END, servers=SERVERS)))
        explained = []
        for directory in trained_models.directories:
            name = move_in(daemon, directory)
            wait_until(partial(answers_by, daemon, name), what=f"the first answer of {name}")
            path = f"/explain/{fleet.servers[0]}?target=mem_used_pct&step=11"
            explained.append(daemon.get(path))
            assert explained[-1]["model_version"] == name
            answer = daemon.predictions()["predictions"][str(fleet.servers[0])]["mem_used_pct"]
            assert explained[-1]["prediction"]["p50"] == pytest.approx(answer["p50"][11], abs=2e-4)
        metrics = daemon.get("/drift/report")["metrics"]  # the trainer wrote what the data looked like
        assert set(metrics) == set(METRICS)
        assert all(found["psi"] >= 0 for found in metrics.values())
        first, second = explained
        assert first["attention"]["weights"] != second["attention"]["weights"]
        assert first["shap"]["top_features"] != second["shap"]["top_features"]
        for body in explained:
            total = sum(feature["contribution"] for feature in body["shap"]["top_features"])
            assert total == pytest.approx(body["shap"]["difference"], rel=0.011, abs=1e-3)
            assert body["shap"]["completeness_error"] <= 0.01
            assert len(body["attention"]["weights"]) == 36 == body["data_points"]
