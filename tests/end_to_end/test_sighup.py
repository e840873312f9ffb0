"""SIGHUP: what can change is taken, what cannot is named, and a config that cannot be used changes nothing."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.daemon import DaemonProcess, wait_until
from support.models import METRICS, drop_model, tiny_spec

from nordiq_watch.api.enums import Role
from nordiq_watch.security.key_file import add_entry

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    length = tiny_spec().max_encoder_length
    sections: dict[str, Any] = {
        "window": {"length": length},
        "training": {"max_encoder_length": length},
        "watch": {"enabled": False},
    }
    with DaemonProcess(tmp_path, metrics=METRICS, **sections) as daemon:
        yield daemon


def change(daemon: DaemonProcess, **sections: object) -> None:
    config = yaml.safe_load(daemon.config_file.read_text()) | sections
    daemon.config_file.write_text(yaml.safe_dump(config))
    daemon.signal(signal.SIGHUP)


def audit(daemon: DaemonProcess) -> list[dict[str, object]]:
    file = daemon.root / "logs" / "audit.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_limits_and_logs_are_taken_and_the_rest_is_named(daemon: DaemonProcess) -> None:
    change(daemon, limits={"mode": "always", "read_per_minute": 3}, logs={"format": "json"}, server={"port": 1})
    wait_until(lambda: audit(daemon), what="a word of the signal")
    (line,) = audit(daemon)
    assert (line["action"], line["success"]) == ("SIGHUP", True)
    assert line["taken"] == ["limits.mode", "limits.read_per_minute", "logs.format"]
    assert line["waiting_for_restart"] == ["server.port"]
    answers = [daemon.request("GET", "/admin/reloads").status_code for _ in range(5)]
    assert answers == [200] * 3 + [429] * 2
    drop_model(daemon.models, A)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: daemon.request("GET", "/ready").status_code == 200, what="the version to be live")
    live = wait_until(
        lambda: next((event for event in events(daemon) if "is live" in event["event"]), None),
        what="the log to say that it is live",
    )
    assert (live["version"], live["reload"]) == (A, 1)


def events(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """The lines of the log that are JSON by now."""
    return [json.loads(line) for line in daemon.log.splitlines() if line.startswith("{")]


def test_a_config_that_cannot_be_used_changes_nothing(daemon: DaemonProcess) -> None:
    change(daemon, limits={"mode": "sometimes"})
    wait_until(lambda: "the old one stays" in daemon.log, what="a word about the config")
    wait_until(lambda: audit(daemon), what="a line in the audit")
    assert audit(daemon)[0]["success"] is False
    assert daemon.get("/admin/models")["count"] == 0


@pytest.mark.parametrize("text", ["logs: {dir: 2025-13-45}", "device: " + "[" * 5000, "server: {port: 1}\nserver: {}"])
def test_no_file_is_so_broken_that_the_daemon_ends(daemon: DaemonProcess, text: str) -> None:
    daemon.config_file.write_text(text)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: "the old one stays" in daemon.log, what="a word about the config")
    assert daemon.get("/admin/models")["count"] == 0


def test_where_the_log_cannot_be_opened_the_keys_stay_too(daemon: DaemonProcess) -> None:
    key = add_entry(daemon.root / ".nordiq_key", "late", Role.READ, created="now")
    log_file = daemon.root / "logs" / "inference_daemon.log"
    log_file.rename(log_file.with_suffix(".moved"))
    log_file.mkdir()
    change(daemon, logs={"format": "json"})
    wait_until(lambda: audit(daemon), what="a line in the audit")
    assert audit(daemon)[0]["success"] is False
    assert daemon.request("GET", "/admin/models", headers={"X-API-Key": key}).status_code == 401
