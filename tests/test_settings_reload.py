"""A SIGHUP in one process: real files, the real keyring, limits, audit and log, and a socket in systemd's place."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nordiq_watch.api.enums import ReloadTrigger, Role
from nordiq_watch.config.load import find_settings
from nordiq_watch.errors import TooManyRequests
from nordiq_watch.host.logs import configure_logging
from nordiq_watch.host.systemd import ServiceManager
from nordiq_watch.parts import Parts
from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.security.build import build_security
from nordiq_watch.security.key_file import add_entry
from nordiq_watch.settings_reload import SettingsReload


class Installation:
    """A directory with config.yaml, and what a daemon that started on it would reload."""

    def __init__(self, root: Path, systemd: socket.socket) -> None:
        self.root = root
        self.config_file = root / "config.yaml"
        self.write({})
        settings = find_settings(self.config_file)
        configure_logging(settings)
        self.security = build_security(settings, parts=Parts())
        self.queue = ReloadQueue(wall_clock=lambda: 0.0)
        self._systemd = systemd
        self.reload = SettingsReload(
            settings,
            security=self.security,
            queue=self.queue,
            manager=ServiceManager(systemd.getsockname()),
            status=lambda: "no version is live",
        )

    def write(self, sections: dict[str, object]) -> None:
        self.config_file.write_text(yaml.safe_dump(sections))

    def add_key(self, name: str) -> str:
        return add_entry(self.root / ".nordiq_key", name, Role.READ, created="now")

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.root / "logs" / "audit.jsonl").read_text().splitlines()]

    def log_lines(self) -> list[str]:
        return (self.root / "logs" / "inference_daemon.log").read_text().splitlines()

    def told(self) -> list[dict[str, str]]:
        """The datagrams to systemd since the last call."""
        messages: list[dict[str, str]] = []
        while True:
            try:
                text = self._systemd.recv(4096, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.splitlines()))

    def count_allowed(self, requests: int) -> int:
        """How many of these requests the limits allow."""
        for number in range(requests):
            try:
                self.security.rate_limits.count_allowed("one", Role.READ, "/status")
            except TooManyRequests:
                return number
        return requests


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untouched_logging: None) -> Iterator[Installation]:
    monkeypatch.delenv("NORDIQ_API_KEY", raising=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        yield Installation(tmp_path, systemd)


def test_the_latest_model_is_looked_for_and_systemd_is_told(installation: Installation) -> None:
    installation.reload()
    assert len(installation.queue) == 1
    job, _ = installation.queue.take(0) or (None, None)
    assert job == LookAgain(trigger=ReloadTrigger.SIGNAL)
    began, ended = installation.told()
    assert began["RELOADING"] == "1"
    assert int(began["MONOTONIC_USEC"]) > 0
    assert ended == {"READY": "1", "STATUS": "no version is live"}


def test_keys_are_added_and_revoked(installation: Installation) -> None:
    key = installation.add_key("dashboard")
    assert installation.security.keyring.identify(key) is None
    installation.reload()
    holder = installation.security.keyring.identify(key)
    assert holder is not None
    assert (holder.id, holder.role) == ("dashboard", Role.READ)
    (installation.root / ".nordiq_key").unlink()
    installation.reload()
    assert installation.security.keyring.identify(key) is None
    first, second = installation.audit()
    assert (first["keys_added"], first["keys_revoked"]) == (["dashboard"], [])
    assert "dashboard" in second["keys_revoked"]


def test_what_changed_is_taken_once_and_what_waits_is_named_until_the_restart(installation: Installation) -> None:
    sections = {"limits": {"mode": "always", "read_per_minute": 3}, "server": {"port": 1}}
    assert installation.count_allowed(5) == 5, "no limits for this machine alone"
    installation.write(sections)
    installation.reload()
    assert installation.count_allowed(5) == 3
    installation.reload()
    first, second = installation.audit()
    assert first["taken"] == ["limits.mode", "limits.read_per_minute"]
    assert second["taken"] == []
    assert first["waiting_for_restart"] == second["waiting_for_restart"] == ["server.port"]
    assert installation.log_lines()[1].endswith("but only a restart applies it: server.port")
    installation.write({})
    installation.reload()
    assert installation.count_allowed(5) == 5
    assert installation.audit()[-1]["waiting_for_restart"] == []


def test_the_log_has_another_form_but_stays_in_its_directory(installation: Installation) -> None:
    installation.write({"logs": {"format": "json", "dir": "elsewhere"}})
    installation.reload()
    last = json.loads(installation.log_lines()[-1])
    assert last["event"] == "settings read again: the keys, logs.format"
    assert installation.audit()[-1]["waiting_for_restart"] == ["logs.dir"]
    assert not (installation.root / "elsewhere").exists()


@pytest.mark.parametrize("text", ["limits: {mode: sometimes}", "server: [", "logs: {levle: INFO}"])
def test_a_file_that_cannot_be_used_changes_nothing(installation: Installation, text: str) -> None:
    key = installation.add_key("late")
    installation.config_file.write_text(text)
    installation.reload()
    assert installation.security.keyring.identify(key) is None
    assert installation.count_allowed(200) == 200
    (line,) = installation.audit()
    assert (line["action"], line["success"]) == ("SIGHUP", False)
    assert str(installation.config_file) in line["error"]
    assert "the configuration was not read again, the old one stays" in installation.log_lines()[-1]
    assert installation.told()[-1]["READY"] == "1", "systemd does not wait for a reload that failed"
    assert len(installation.queue) == 1, "the latest model is looked for all the same"


def test_a_log_that_cannot_be_opened_keeps_keys_and_limits(installation: Installation) -> None:
    key = installation.add_key("late")
    log_file = installation.root / "logs" / "inference_daemon.log"
    log_file.rename(log_file.with_suffix(".moved"))
    log_file.mkdir()
    installation.write({"logs": {"format": "json"}, "limits": {"mode": "always", "read_per_minute": 1}})
    installation.reload()
    assert installation.security.keyring.identify(key) is None
    assert installation.count_allowed(5) == 5
    assert [line["success"] for line in installation.audit()] == [False]


def test_a_key_file_that_cannot_be_used_changes_no_limits(installation: Installation) -> None:
    key_file = installation.root / ".nordiq_key"
    before = key_file.read_text().strip()
    key_file.unlink()
    key_file.mkdir()
    installation.write({"limits": {"mode": "always", "read_per_minute": 1}})
    installation.reload()
    holder = installation.security.keyring.identify(before)
    assert holder is not None
    assert holder.role == Role.ADMIN
    assert installation.count_allowed(5) == 5
    assert installation.audit()[0]["success"] is False
