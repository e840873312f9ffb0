"""Many ask for the same reload at once, on a real daemon."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.daemon import DaemonProcess
from support.models import ENCODER, METRICS, drop_model

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
B = "tft_model_20250102_000000"
ASKERS = 50


def test_fifty_requests_at_once_give_one_load_and_consistent_answers(tmp_path: Path) -> None:
    sections = {"window": {"length": ENCODER}, "training": {"max_encoder_length": ENCODER}}
    with DaemonProcess(tmp_path, metrics=METRICS, watch={"enabled": False}, **sections) as daemon:
        drop_model(daemon.models, A)
        daemon.post("/admin/reload-model")
        drop_model(daemon.models, B, shift=0.1)

        with ThreadPoolExecutor(ASKERS) as pool:
            answers = list(pool.map(lambda _: daemon.request("POST", "/admin/reload-model"), range(ASKERS)))
            healthy = list(pool.map(lambda _: daemon.request("GET", "/health").status_code, range(ASKERS)))

        assert healthy == [200] * ASKERS
        assert {answer.status_code for answer in answers} <= {200, 202}
        bodies = [answer.json() for answer in answers if answer.status_code == 200]
        assert bodies
        for body in bodies:
            assert body["success"] is True
            assert body.get("new_model", body.get("model_path")) == f"models/{B}"
        assert daemon.model_info()["generation"] == 2
        loads = [reload for reload in daemon.get("/admin/reloads")["reloads"] if reload["outcome"] == "loaded"]
        assert [reload["version"] for reload in loads] == [B, A]
