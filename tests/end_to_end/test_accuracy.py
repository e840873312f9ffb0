"""The books of a real daemon that is killed and that changes its model on the way: every forecast counts once."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.daemon import DaemonProcess, wait_until
from support.models import ENCODER, METRICS, drop_model, drop_model_with_extras

pytestmark = pytest.mark.slow

INTERVAL, FIRST_SLOT = 300, 5_790_000
OLDER, NEWER = "tft_model_20250130_143000", "tft_model_20250131_143000"
SERVERS = ("ppdb001", "ppml001", "ppweb001")
SECTIONS: dict[str, Any] = {
    "window": {"length": 24},
    "training": {"max_encoder_length": 24},
    "quality": {"horizons_seconds": [300, 900]},
    "answers": {"baseline": False},
}
"""Every point is counted: the built-in forecast, which is booked beside a model, has tests of its own."""


def records(begin: int, end: int) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": (FIRST_SLOT + slot) * INTERVAL,
            "server_name": server,
            "cpu_user_pct": 30 + 5 * number + slot * 7 % 11,
            "mem_used_pct": 50 + slot * 5 % 3,
        }
        for slot in range(begin, end)
        for number, server in enumerate(SERVERS)
    ]


def feed_slot(daemon: DaemonProcess, slot: int) -> None:
    """One slot for all servers, and the forecast that follows."""
    daemon.feed(records(slot, slot + 1))
    wait_for_forecast(daemon, slot)


def wait_for_forecast(daemon: DaemonProcess, slot: int) -> None:
    def forecast() -> bool:
        at = (FIRST_SLOT + slot) * INTERVAL
        answer = daemon.predictions()
        start = answer.get("metadata", {}).get("horizon_start")
        return bool(start) and _seconds(start) == at + INTERVAL

    wait_until(forecast, what=f"the forecast of slot {slot}")


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def points(daemon: DaemonProcess) -> dict[tuple[str, str], int]:
    """(version, horizon) → points of the CPU's book."""
    return {
        (version["name"], horizon): book["points"]
        for version in daemon.get("/admin/accuracy")["versions"]
        for horizon, book in version["metrics"]["cpu_user_pct"].items()
    }


def expected(origins: dict[str, range], newest: int) -> dict[tuple[str, str], int]:
    """Every origin of a version whose slot ahead, and the one after it, are over."""
    counts = {}
    for version, slots in origins.items():
        for horizon, ahead in (("5m", 1), ("15m", 3)):
            due = sum(slot + ahead <= newest - 2 for slot in slots)
            counts[version, horizon] = due * len(SERVERS)
    return counts


def wait_for_claims(daemon: DaemonProcess, origins: dict[str, range], newest: int) -> None:
    """Until all forecasts but the newest, which a restart makes again, are on disk: a thread of its own writes them."""
    made = 2 * (sum(map(len, origins.values())) - 1)  # horizons
    settled = sum(expected(origins, newest).values()) // len(SERVERS)
    wait_until(lambda: daemon.get("/admin/accuracy")["pending"] == made - settled, what=f"{made - settled} claims")


def test_every_forecast_counts_once_whatever_happens(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        drop_model(daemon.models, OLDER)
        daemon.wait_for_live(OLDER)
        daemon.feed(records(0, ENCODER))
        begin = ENCODER - 1
        wait_for_forecast(daemon, begin)
        for slot in range(begin + 1, begin + 4):
            feed_slot(daemon, slot)
        wait_for_claims(daemon, {OLDER: range(begin, begin + 4)}, newest=begin + 3)
        daemon.kill()
        daemon.start()
        wait_for_forecast(daemon, begin + 3)
        feed_slot(daemon, begin + 4)
        swap = begin + 5
        feed_slot(daemon, swap)
        drop_model(daemon.models, NEWER, shift=0.5)
        daemon.wait_for_live(NEWER)
        wait_until(
            lambda: daemon.predictions()["metadata"]["model_version"] == NEWER, what="the new version's first answer"
        )
        for slot in range(swap + 1, swap + 4):
            feed_slot(daemon, slot)
        wait_for_claims(daemon, {OLDER: range(begin, swap + 1), NEWER: range(swap, swap + 4)}, newest=swap + 3)
        daemon.kill()
        daemon.start()
        wait_for_forecast(daemon, swap + 3)
        newest = swap + 8
        for slot in range(swap + 4, newest + 1):
            feed_slot(daemon, slot)

        origins = {OLDER: range(begin, swap + 1), NEWER: range(swap, newest + 1)}
        counts = expected(origins, newest)
        wait_until(lambda: points(daemon) == counts, what=f"{counts} points")

        by_name = {version["name"]: version for version in daemon.get("/admin/accuracy")["versions"]}
        older, newer = (by_name[name]["metrics"]["cpu_user_pct"]["5m"] for name in (OLDER, NEWER))
        assert older["mae"] == pytest.approx(older["last_value"]["mae"], abs=1e-3)  # it says the last value
        assert newer["mae"] != pytest.approx(newer["last_value"]["mae"], abs=1e-3)
        shown = {model["name"]: model["accuracy"] for model in daemon.get("/admin/models")["models"]}
        assert shown[OLDER]["cpu_user_pct"]["5m"] == older
        assert (
            'nordiq_watch_accuracy_points{horizon_seconds="300",metric="cpu_user_pct"'
            in daemon.request("GET", "/metrics").text
        )


def factors(daemon: DaemonProcess) -> dict[str, float]:
    """Of the memory's adaptive band, by horizon."""
    (version,) = daemon.get("/admin/accuracy")["versions"]
    return {horizon: book["band"]["factor"] for horizon, book in version["metrics"]["mem_used_pct"].items()}


def width(daemon: DaemonProcess) -> float:
    """Of the first server's served band, at the first step."""
    served = daemon.predictions()["predictions"][SERVERS[0]]["mem_used_pct"]
    return float(served["p90"][0] - served["p10"][0])


def test_bands_adapt_and_keep_what_they_learned_over_a_kill(tmp_path: Path) -> None:
    """A band of one deviation to each side is too narrow for the memory, which is rarely where it was."""
    with DaemonProcess(tmp_path, metrics=METRICS, **SECTIONS) as daemon:
        drop_model_with_extras(daemon.models, OLDER)
        daemon.wait_for_live(OLDER)
        daemon.feed(records(0, ENCODER))
        wait_for_forecast(daemon, ENCODER - 1)
        own, newest = width(daemon), ENCODER + 14  # where the memory is again what it was
        for slot in range(ENCODER, newest + 1):
            feed_slot(daemon, slot)
        due = expected({OLDER: range(ENCODER - 1, newest + 1)}, newest)
        wait_until(lambda: points(daemon) == due, what=f"{due} points")
        learned = factors(daemon)
        assert set(learned) == {"5m", "15m"}
        assert learned["5m"] > 1.03
        daemon.kill()
        daemon.start()
        wait_for_forecast(daemon, newest)
        assert factors(daemon) == learned
        assert width(daemon) == pytest.approx(learned["5m"] * own, rel=1e-3)
