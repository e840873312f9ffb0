"""Each worker of a real daemon raises what nothing foresaw: the log, /status and a metric say which one is down, all
the others go on, and it comes back by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from support.daemon import PATIENCE_SECONDS, wait_until
from support.drop_site import SECTIONS, warm_fleet
from support.models import METRICS, drop_model
from support.receiver import Receiver

from nordiq_watch.alerting.webhook import Webhook
from nordiq_watch.config.load import load_settings
from nordiq_watch.daemon import Daemon
from nordiq_watch.forecast.baseline_worker import BaselineWorker
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.host.housekeeper import Housekeeper
from nordiq_watch.host.systemd import WatchdogNotifier
from nordiq_watch.ingest.ingest import Ingest
from nordiq_watch.quality.accuracy_tracker import AccuracyTracker
from nordiq_watch.reload.watcher import Watcher
from nordiq_watch.reload.worker import ReloadWorker
from nordiq_watch.storage.history_writer import HistoryWriter

pytestmark = pytest.mark.slow

A = "tft_model_20250101_000000"
WORKERS = {
    "ingest": Ingest,
    "forecaster": Forecaster,
    "baseline": BaselineWorker,
    "reload": ReloadWorker,
    "watcher": Watcher,
    "quality": AccuracyTracker,
    "history-writer": HistoryWriter,
    "webhook": Webhook,
    "housekeeper": Housekeeper,
    "watchdog": WatchdogNotifier,
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def daemon(tmp_path: Path, receiver: Receiver) -> Iterator[Daemon]:
    """In this process, with a live model and a warm fleet."""
    sections = {**SECTIONS, "alerts": {"webhook": {"url": receiver.url}}, "watch": {"rescan_seconds": 1}}
    config_file = tmp_path / "config.yaml"
    config_file.write_text(yaml.safe_dump({"server": {"port": 0}, "metrics": list(METRICS), **sections}))
    drop_model(tmp_path / "models", A)
    daemon = Daemon(load_settings(config_file, {"NORDIQ_API_KEY": "key"}))
    thread = threading.Thread(target=daemon.run)
    thread.start()
    wait_until(lambda: ask(daemon, "/ready").status_code == 200, what="the first version to be live")
    feed(daemon)
    wait_until(lambda: ask(daemon, "/predictions/current").json()["predictions"], what="the first forecast")
    yield daemon
    daemon.stop()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def ask(daemon: Daemon, path: str, method: str = "GET", **options: Any) -> requests.Response:
    headers = {"X-API-Key": "key"}
    return requests.request(method, daemon.http.url + path, headers=headers, timeout=PATIENCE_SECONDS, **options)


def feed(daemon: Daemon) -> requests.Response:
    return ask(daemon, "/feed/data", "POST", json={"records": warm_fleet()})


def part_of(daemon: Daemon, name: str) -> Any:
    (part,) = [part for part in ask(daemon, "/status").json()["parts"] if part["name"] == name]
    return part


def says_it_works(daemon: Daemon, name: str) -> bool:
    return f'nordiq_watch_part_healthy{{part="{name}"}} 1.0' in ask(daemon, "/metrics").text


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_that_throws(
    daemon: Daemon, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nordiq_watch")
    thrown = threading.Event()

    def throw(*_: Any, **__: Any) -> float:
        thrown.set()
        raise ZeroDivisionError("nobody foresaw this")

    assert part_of(daemon, name)["state"] == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(WORKERS[name], "step", throw)
        wake(daemon, name)
        wait_until(lambda: part_of(daemon, name)["state"] == "failing", what=f"{name} to be told as failing")
        assert thrown.is_set()
        part = part_of(daemon, name)
        assert part["reason"] == "internal: ZeroDivisionError, the log has the rest"
        assert part["effect"]
        assert not says_it_works(daemon, name)
        assert f"the worker {name} failed; it goes on" in caplog.text
        assert "nobody foresaw this" in caplog.text
        check_others(daemon, name)
    wait_until(lambda: part_of(daemon, name)["state"] == "ok", what=f"{name} to come back")
    assert says_it_works(daemon, name)
    assert f"the {name} works again" in caplog.text
    check_others(daemon, None)


def wake(daemon: Daemon, name: str) -> None:
    """What makes the worker come round now."""
    if name == "ingest":
        daemon._ingest.worker._waiting.put_nowait(None)
    elif name == "reload":
        ask(daemon, "/admin/reload-model?wait=false", "POST")
    else:
        {
            "forecaster": daemon._forecast.forecaster,
            "baseline": daemon._forecast.baseline_worker,
            "watcher": daemon._reload.watcher,
            "quality": daemon._quality.accuracy,
            "history-writer": daemon._history.writer,
            "webhook": daemon._alerting.webhook,
            "housekeeper": daemon._housekeeper,
            "watchdog": next(m.worker for m in daemon._workers._members if m.worker.part.name == "watchdog"),
        }[name].wake()  # type: ignore[union-attr]


def check_others(daemon: Daemon, broken: str | None) -> None:
    """Answers and, unless their own worker is the broken one, feeds and forecasts go on."""
    assert ask(daemon, "/health").ok
    assert ask(daemon, "/ready").ok
    assert len(ask(daemon, "/predictions/current").json()["predictions"]) > 0
    assert ask(daemon, "/admin/models").ok
    assert ask(daemon, "/historical/summary").ok
    if broken == "ingest":
        return
    before = daemon._forecast.forecaster.last_prediction or 0.0
    time.sleep(0.01)  # so that two forecasts have not the same time
    assert feed(daemon).ok
    if broken != "forecaster":
        wait_until(lambda: (daemon._forecast.forecaster.last_prediction or 0.0) > before, what="the next forecast")
