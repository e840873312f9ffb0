"""One id from drop to live, in the log of a real daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import METRICS, drop_model

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    watch = {"settle_seconds": 0.2, "rescan_seconds": 1}
    with DaemonProcess(tmp_path, metrics=METRICS, watch=watch, logs={"format": "json"}) as daemon:
        yield daemon


def about(daemon: DaemonProcess, version: str) -> list[dict[str, Any]]:
    events = (json.loads(line) for line in daemon.log.splitlines())
    return [event for event in events if event.get("version") == version]


def test_every_line_about_a_drop_carries_its_id(daemon: DaemonProcess, tmp_path: Path) -> None:
    made = drop_model(tmp_path / "shelf", A)
    weights = made / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    made.rename(daemon.models / A)
    wait_until(lambda: len(about(daemon, A)) == 2, what="a word that the drop is not complete")
    (daemon.models / A / weights.name).write_bytes(whole)
    daemon.wait_for_live(A)
    seen, waiting = about(daemon, A)[:2]
    (live,) = wait_until(
        lambda: [line for line in about(daemon, A) if "is live" in line["event"]], what="a word that it is live"
    )
    assert "was seen" in seen["event"]
    assert "Waiting for the rest" in waiting["event"]
    assert len({line["drop"] for line in about(daemon, A)}) == 1
    shown = daemon.get(f"/admin/reloads/{live['reload']}")
    assert (shown["drop"], shown["version"]) == (live["drop"], A)
