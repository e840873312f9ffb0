"""An app on real parts: window, journal, ingest, board and live. Reloads are scripted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.web_world import METRICS, NOW, FixedKeys, ScriptedDesk, World

from nordiq_watch.config import Auth, Config, Server
from nordiq_watch.config import Window as WindowSection
from nordiq_watch.events import EventBus
from nordiq_watch.forecast.alerts import AlertBook
from nordiq_watch.forecast.board import AnswerBoard
from nordiq_watch.forecast.explain import Explanations
from nordiq_watch.forecast.forecaster import Forecaster
from nordiq_watch.forecast.freshness import Freshness
from nordiq_watch.forecast.ingest import Ingest
from nordiq_watch.forecast.judge import Judge
from nordiq_watch.forecast.ledger import Ledger
from nordiq_watch.forecast.thresholds import ThresholdTable
from nordiq_watch.forecast.window import Window
from nordiq_watch.host.audit import AuditLog
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Parts
from nordiq_watch.quality.bookkeeper import Bookkeeper
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.storage.accuracy import AccuracyStore
from nordiq_watch.storage.archive import Archive
from nordiq_watch.storage.historian import Historian
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.journal import Journal
from nordiq_watch.web.app import create_app
from nordiq_watch.web.services import Services
from nordiq_watch.worker import Worker

BuildWorld = Callable[..., World]


@pytest.fixture
def build_world(tmp_path: Path) -> Iterator[BuildWorld]:
    """Makes an app whose ingest runs in a thread of its own; `sections` replace those of the config."""
    running: list[tuple[Ingest, threading.Thread, Journal]] = []
    stores: list[AccuracyStore | HistoryStore] = []
    workers: list[tuple[Worker, threading.Thread]] = []

    def build(**sections: Any) -> World:
        small = WindowSection(length=4, max_servers=3)
        config = Config(**{"metrics": METRICS, "window": small, "server": Server(threads=2), **sections})
        models_dir = tmp_path / "models"
        models_dir.mkdir()
        events, live, desk = EventBus(), Live(), ScriptedDesk(models_dir)
        window = Window(
            METRICS, interval_seconds=300, length=4, max_servers=config.window.max_servers, silent_seconds=300
        )
        board = AnswerBoard()
        journal = Journal(tmp_path / "state" / "samples.sqlite", metrics=METRICS, interval_seconds=300)
        archive = Archive(tmp_path / "state" / "archive", metrics=METRICS, interval_seconds=300, days=2)
        parts = Parts(hidden=(tmp_path,), clock=lambda: NOW)
        ledger = Ledger(journal, archive, window, future_seconds=300, clock=lambda: NOW, parts=parts)
        ingest = Ingest(ledger, window, events, live=live, on_accepted=lambda: None)
        thread = threading.Thread(target=ingest.run)
        thread.start()
        running.append((ingest, thread, journal))
        store = AccuracyStore(tmp_path / "state" / "accuracy.sqlite3", interval_seconds=300)
        bookkeeper = Bookkeeper(store, measured=window.measured, horizons_seconds=(300,), max_servers=10)
        history = HistoryStore(tmp_path / "state" / "history.sqlite3", slot_seconds=300)
        stores.extend((store, history))
        historian = Historian(history, keep_days=31)
        for worker in (historian, bookkeeper):
            workers.append((worker, threading.Thread(target=worker.run)))
            workers[-1][1].start()
        alerts = AlertBook(config.alerts)
        judge = Judge(config.risk, ThresholdTable(config.risk, METRICS), alerts, events, silent_seconds=300)
        forecaster = Forecaster(live, window, board, events)
        services = Services(
            config=config,
            keys=FixedKeys(),
            live=live,
            window=window,
            ingest=ingest,
            board=board,
            accuracy=bookkeeper,
            history=history,
            historian=historian,
            judge=judge,
            drift=DriftWatch(config.quality.drift, statistics=dict, interval_seconds=300),
            cascade=CascadeWatch(config.quality.cascade, interval_seconds=300),
            alerts=alerts,
            freshness=Freshness(window, silent_seconds=900, clock=lambda: NOW),
            explanations=Explanations(live, judge, latest=forecaster.latest, clock=lambda: NOW, patience_seconds=0.01),
            reloads=desk,
            catalogue=desk,
            forecaster=forecaster,
            events=events,
            audit=AuditLog(tmp_path / "audit.jsonl"),
            parts=parts,
            clock=lambda: NOW,
            started_at=NOW - 90,
        )
        return World(services, create_app(services), desk, models_dir)

    yield build
    for ingest, thread, journal in running:
        ingest.stop()
        thread.join(20)
        assert not thread.is_alive()
        journal.close()
    for worker, thread in workers:
        worker.stop()
        thread.join(20)
        assert not thread.is_alive()
    for store in stores:
        store.close()


@pytest.fixture
def world(build_world: BuildWorld) -> World:
    return build_world()


@pytest.fixture
def private_world(build_world: BuildWorld) -> World:
    """One where nothing is public."""
    return build_world(auth=Auth(public=()))
