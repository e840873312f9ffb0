"""The composition root: builds every part, starts them in order, stops them in reverse. The only file that knows all.

Threads: http answers requests, ingest writes journal and window, forecaster publishes answers, reload changes the live
model, watcher asks it to look. Each starts after those that it needs: data before models, models before requests.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from secrets import token_hex
from typing import Any

import msgspec

from nordiq_watch import __version__
from nordiq_watch.artifact.signature import trust_in
from nordiq_watch.config import DEFAULT_FILE, Config, Settings, find_settings, find_supervision
from nordiq_watch.errors import NordiqError
from nordiq_watch.events import (
    AlertsChanged,
    EventBus,
    FleetForecast,
    FleetJudged,
    ModelWentLive,
)
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
from nordiq_watch.host.changes import list_changes, needs_restart
from nordiq_watch.host.crew import Crew
from nordiq_watch.host.file_handles import raise_file_limit
from nordiq_watch.host.housekeeper import Housekeeper
from nordiq_watch.host.http import HttpServer, Tally
from nordiq_watch.host.keys import Keyring, ensure_keys
from nordiq_watch.host.log_tail import read_records
from nordiq_watch.host.logs import check_log, configure_logging, tell_log_part
from nordiq_watch.host.memory import free_host_bytes
from nordiq_watch.host.models_dir import prepare_models_dir
from nordiq_watch.host.narrator import tell_log
from nordiq_watch.host.state_dir import StateClaim
from nordiq_watch.host.systemd import Heartbeats, ServiceManager, Vigil, passed_socket
from nordiq_watch.host.threads import take_turns_sooner
from nordiq_watch.host.webhook import Webhook
from nordiq_watch.live.published import Live
from nordiq_watch.network.predictor import free_device_bytes, limit_threads, resolve_device
from nordiq_watch.parts import Parts
from nordiq_watch.quality.bookkeeper import Bookkeeper
from nordiq_watch.quality.cascade import CascadeWatch
from nordiq_watch.quality.drift import DriftWatch
from nordiq_watch.quality.surprise import Expectations
from nordiq_watch.quality.watch import QualityWatch
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.desk import ReloadDesk
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.reload.loader import Loader, Requirements
from nordiq_watch.reload.lookout import Lookout
from nordiq_watch.reload.promotion import Promotion
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.reload.retention import Retention
from nordiq_watch.reload.room import Room
from nordiq_watch.reload.watcher import Watcher
from nordiq_watch.reload.worker import ReloadWorker
from nordiq_watch.storage.accuracy import AccuracyStore
from nordiq_watch.storage.archive import Archive, days_of_window
from nordiq_watch.storage.decisions import DecisionStore
from nordiq_watch.storage.historian import Historian
from nordiq_watch.storage.history import HistoryStore
from nordiq_watch.storage.journal import Journal
from nordiq_watch.web.admission import Gate
from nordiq_watch.web.app import create_app
from nordiq_watch.web.services import Services
from nordiq_watch.web.throttle import Throttle, limits_in_force

log = logging.getLogger(__name__)

_JOIN_SECONDS = 10.0

_BACKGROUND = 5
"""Niceness of the thread that forecasts: where cores are short, requests and samples go first. A reload is rare, and
made to wait it took seconds instead of one.
"""


class Daemon:
    """One running nordiq_watch. Building it binds the port and opens the journal; `run` serves until `stop`.

    Raises ConfigError or StorageError, one clear line, if it cannot run here.
    """

    def __init__(self, settings: Settings) -> None:
        self._supervision = find_supervision()
        self._listener = passed_socket(self._supervision)
        host = self._listener.getsockname()[0] if self._listener else settings.config.server.host
        settings = msgspec.structs.replace(settings, bound_host=host)
        self._settings = settings
        self._taken = settings.config  # with what a SIGHUP changed since
        self._stopping = threading.Event()
        self._manager = ServiceManager(self._supervision.notify_socket)
        self._heartbeats = Heartbeats(stuck_seconds=settings.config.watchdog.stuck_seconds)
        self._crew = Crew(stuck_seconds=settings.config.watchdog.stuck_seconds)
        self._build(settings)

    def _build(self, settings: Settings) -> None:
        config = settings.config
        raise_file_limit()
        prepare_models_dir(settings.models_dir, allow_world_writable=config.models.allow_world_writable)
        self._parts = Parts(hidden=(settings.state_dir, settings.log_file.parent, settings.root))
        tell_log_part(self._parts.of("log"))
        self._claim = StateClaim(settings.state_dir, part=self._parts.of("lock"))
        self._audit = AuditLog(settings.audit_file, part=self._parts.of("audit"))
        self._housekeeper = Housekeeper(
            (check_log, self._audit.check, self._claim.check), part=self._parts.of("housekeeper")
        )
        self._throttle = Throttle(limits_in_force(config.limits, other_machines=settings.other_machines))
        self._keyring = Keyring(ensure_keys(settings))
        self._events = EventBus()
        tell_log(self._events)
        self._live = Live()
        self._build_forecast(settings)
        self._build_quality(settings)
        self._build_reload(settings)
        tally = Tally()
        services = Services(
            config=config,
            keys=self._keyring,
            live=self._live,
            window=self._window,
            ingest=self._ingest,
            board=self._board,
            forecaster=self._forecaster,
            alerts=self._alerts,
            judge=self._judge,
            freshness=self._freshness,
            explanations=Explanations(self._live, self._judge, latest=self._forecaster.latest, clock=time.time),
            accuracy=self._bookkeeper,
            drift=self._drift,
            cascade=self._cascade,
            history=self._history,
            historian=self._historian,
            reloads=self._desk,
            catalogue=self._desk,
            events=self._events,
            audit=self._audit,
            throttle=self._throttle,
            parts=self._parts,
            clock=time.time,
            started_at=time.time(),
            read_log=partial(read_records, settings.log_file),
            connections=tally,
        )
        app = create_app(services)
        self.http = HttpServer(app, config.server, listener=self._listener, admit=Gate(app, services), tally=tally)

    def _build_forecast(self, settings: Settings) -> None:
        config = settings.config
        self._device = resolve_device(config.device)
        self._window = Window(
            config.metrics,
            interval_seconds=config.window.interval_seconds,
            length=config.window.length,
            max_servers=config.window.max_servers,
            silent_seconds=config.window.silent_seconds,
            tracks_changes=self._device != "cpu",
        )
        self._board = AnswerBoard()
        self._freshness = Freshness(self._window, silent_seconds=config.alerts.silent_seconds)
        self._build_judge(settings)
        self._forecaster = Forecaster(
            self._live,
            self._window,
            self._board,
            self._events,
            judge=self._judge,
            freshness=self._freshness,
            part=self._parts.of("forecaster"),
        )
        self._ingest = Ingest(
            self._build_ledger(settings),
            self._window,
            self._events,
            live=self._live,
            on_accepted=self._take_notice,
            part=self._parts.of("ingest"),
        )

    def _take_notice(self) -> None:
        """The window took a batch."""
        self._freshness.note()
        self._forecaster.wake()

    def _build_ledger(self, settings: Settings) -> Ledger:
        window = settings.config.window
        metrics, interval_seconds = settings.config.metrics, window.interval_seconds
        self._journal = Journal(
            settings.state_dir / "journal.sqlite3", metrics=metrics, interval_seconds=interval_seconds
        )
        archive = Archive(
            settings.archive_dir,
            metrics=metrics,
            interval_seconds=interval_seconds,
            days=max(settings.config.archive.days, days_of_window(window.length, interval_seconds)),
        )
        return Ledger(self._journal, archive, self._window, future_seconds=window.future_seconds, parts=self._parts)

    def _build_judge(self, settings: Settings) -> None:
        config = settings.config
        self._history = HistoryStore(
            settings.state_dir / "history.sqlite3",
            slot_seconds=config.window.interval_seconds,
            part=self._parts.of("history"),
        )
        self._historian = Historian(
            self._history,
            keep_days=config.history.keep_days,
            adopt=lambda alerts: self._alerts.adopt(alerts),
            part=self._parts.of("history-writer"),
        )
        self._events.subscribe(AlertsChanged, self._historian.note)
        self._events.subscribe(FleetJudged, self._historian.note)
        self._alerts = AlertBook(config.alerts, unfinished=self._historian.unfinished())
        self._judge = Judge(
            config.risk,
            ThresholdTable(config.risk, config.metrics),
            self._alerts,
            self._events,
            silent_seconds=config.window.silent_seconds,
            age=self._freshness.now,
            attend=self._window.attendance,
        )
        self._webhook: Webhook | None = None
        if config.alerts.webhook.url is not None:
            self._webhook = Webhook(
                config.alerts.webhook.url,
                config.alerts.webhook,
                self._events,
                active=lambda: self._judge.standing,
                part=self._parts.of("webhook"),
            )
            self._events.subscribe(AlertsChanged, self._webhook.note)

    def _build_quality(self, settings: Settings) -> None:
        quality = settings.config.quality
        self._accuracy_store = AccuracyStore(
            settings.state_dir / "accuracy.sqlite3",
            interval_seconds=settings.config.window.interval_seconds,
            part=self._parts.of("accuracy"),
        )
        self._bookkeeper = Bookkeeper(
            self._accuracy_store,
            measured=self._window.measured,
            horizons_seconds=quality.horizons_seconds,
            max_servers=quality.max_servers,
            part=self._parts.of("quality"),
        )
        self._events.subscribe(FleetForecast, self._bookkeeper.note)
        interval = settings.config.window.interval_seconds
        self._drift = DriftWatch(quality.drift, statistics=self._training_statistics, interval_seconds=interval)
        self._cascade = CascadeWatch(quality.cascade, interval_seconds=interval)
        watch = QualityWatch(Expectations(self._window.measured), self._drift, self._cascade)
        self._events.subscribe(FleetForecast, watch.note)

    def _training_statistics(self) -> Mapping[str, Any]:
        """What the live model says of its training data; nothing for one whose trainer did not write it."""
        live = self._live.peek()
        statistics = live.spec.training_config.get("statistics") if live else None
        return statistics if isinstance(statistics, dict) else {}

    def _build_reload(self, settings: Settings) -> None:
        config = settings.config
        requirements = Requirements(config.metrics, config.window.interval_seconds, config.window.length)
        store = DecisionStore(settings.state_dir / "decisions.json", part=self._parts.of("decision-file"))
        held_against = (
            __version__,
            requirements,
            config.models.trusted_keys,
            config.reload.canary,
            config.reload.on_loss,
        )
        store.hold_against(sha256(repr(held_against).encode()).hexdigest()[:16])
        history = ReloadHistory(settings.state_dir / "reloads.jsonl", part=self._parts.of("reload-history"))
        catalogue = Catalogue(settings.models_dir)
        self._queue = ReloadQueue(wall_clock=time.time, first_id=history.last_id + 1)
        lookout = Lookout(
            catalogue,
            store,
            settle_seconds=config.watch.settle_seconds,
            clock=time.monotonic,
            new_drop=partial(token_hex, 4),
            newest_slot=lambda: self._window.newest_slot,
        )
        self._worker = ReloadWorker(
            catalogue=catalogue,
            lookout=lookout,
            promotion=Promotion(
                Loader(requirements, check_trust=trust_in(config.models.trusted_keys)),
                Canary(
                    config.reload.canary,
                    snapshot=self._window.snapshot,
                    latest=self._forecaster.latest,
                    on_loss=config.reload.on_loss,
                ),
                self._live,
                room=Room(
                    config.reload.policy,
                    self._live,
                    device=self._device,
                    free_host_bytes=free_host_bytes,
                    free_device_bytes=partial(free_device_bytes, self._device),
                ),
                answers=self._forecaster,
                keep_previous=config.reload.auto_rollback,
            ),
            live=self._live,
            store=store,
            history=history,
            queue=self._queue,
            events=self._events,
            clock=time.monotonic,
            wall_clock=time.time,
            pause=self._stopping.wait,
            part=self._parts.of("reload"),
        )
        self._desk = ReloadDesk(
            queue=self._queue,
            worker=self._worker,
            history=history,
            catalogue=catalogue,
            lookout=lookout,
            store=store,
            live=self._live,
        )
        self._watcher = Watcher(
            settings.models_dir,
            self._queue,
            mode=config.watch.mode,
            rescan_seconds=config.watch.rescan_seconds,
            clock=time.monotonic,
            part=self._parts.of("watcher"),
        )
        if config.models.keep is not None:
            retention = Retention(catalogue, store, keep=config.models.keep)
            self._events.subscribe(ModelWentLive, retention.after_swap)

    # Running

    def run(self) -> None:
        """Serves until `stop`. Everything that was accepted is safe when it returns."""
        settings = self._settings
        log.info("nordiq_watch %s starts, models in %s", __version__, settings.models_dir)
        if settings.file is None:
            log.info(
                "there is no %s here: the defaults are used; `nordiq-watch default-config` shows them", DEFAULT_FILE
            )
        take_turns_sooner()
        limit_threads(max(1, (os.cpu_count() or 1) // 2))  # requests and samples keep the other half
        self._ingest.restore()
        self._freshness.begin()
        gc.freeze()  # what lives as long as the daemon is not walked again whenever a feed makes many objects
        self._crew.start(self._ingest, required=True)
        if self._webhook is not None:
            self._crew.start(self._webhook)
        self._crew.start(self._historian)
        self._crew.start(self._bookkeeper)
        self._crew.start(self._housekeeper)
        self._crew.start(self._forecaster, nice=_BACKGROUND, required=True)
        self._queue.submit(LookAgain(trigger="startup"))
        self._crew.start(self._worker, required=True)
        if settings.config.watch.enabled:
            self._crew.start(self._watcher, required=True)
        else:
            log.info("watch.enabled is false: new models go live only on request")
        vigil = self._keep_vigil()
        log.info("serving on %s", self.http.url)
        try:
            self.http.run(self._heartbeats.of("http"))
        finally:
            vigil.stop()
            self._manager.stopping()
            self._shut_down()

    def stop(self) -> None:
        """Makes `run` return, once requests in flight are answered. From any thread or a signal handler."""
        self._stopping.set()
        self._queue.close()  # requests that wait for a reload are answered now
        self.http.stop()

    def _keep_vigil(self) -> Vigil:
        """From now on systemd is told that the API answers, what is live, and that all threads are well."""
        vigil = Vigil(
            self._manager,
            url=self.http.url,
            watchdog_seconds=self._supervision.watchdog_seconds,
            find_fault=lambda: self._crew.find_fault() or self._heartbeats.missing(),
            describe=self._describe_live,
            part=self._parts.of("watchdog"),
        )
        self._events.subscribe(ModelWentLive, lambda _: self._manager.status(self._describe_live()))
        self._crew.start(vigil)
        return vigil

    def _describe_live(self) -> str:
        model = self._live.peek()
        return f"{model.name} is live, generation {model.identity.generation}" if model else "no model is live yet"

    def reload_settings(self) -> None:
        """What SIGHUP asks for: what can change without a restart is taken anew, and the latest model is looked for."""
        self._manager.reloading()
        try:
            self._reload_settings()
        finally:
            self._manager.ready(self._describe_live())

    def _reload_settings(self) -> None:
        self._queue.submit(LookAgain(trigger="signal"))
        try:
            settings = msgspec.structs.replace(find_settings(self._settings.file), bound_host=self._settings.bound_host)
            keys = ensure_keys(settings)
            if settings.config.logs != self._taken.logs:
                configure_logging(msgspec.structs.replace(settings, config=self._with_log_changes(settings.config)))
            new_keys, old_keys = self._keyring.replace(keys)  # nothing can fail any more
        except NordiqError as error:
            log.error("the configuration was not read again, the old one stays: %s", error)
            self._audit.write(action="SIGHUP", success=False, error=str(error))
            return
        self._throttle.replace(limits_in_force(settings.config.limits, other_machines=settings.other_machines))
        taken = [key for key in list_changes(self._taken, settings.config) if not needs_restart(key)]
        waiting = [key for key in list_changes(self._settings.config, settings.config) if needs_restart(key)]
        self._taken = settings.config
        if waiting:
            log.warning("changed in %s, but only a restart applies it: %s", settings.file, ", ".join(waiting))
        log.info("settings read again: the keys%s", "".join(f", {key}" for key in taken))
        self._audit.write(
            action="SIGHUP",
            success=True,
            taken=taken,
            waiting_for_restart=waiting,
            keys_added=new_keys,
            keys_revoked=old_keys,
        )

    def _with_log_changes(self, new: Config) -> Config:
        """The new log settings, but for the directory: the audit and this log stay where they are until a restart."""
        return msgspec.structs.replace(new, logs=msgspec.structs.replace(new.logs, dir=self._settings.config.logs.dir))

    def _shut_down(self) -> None:
        """In reverse: first those who ask for work, then those who do it, the journal last."""
        self._stopping.set()
        self._watcher.stop()
        self._queue.close()
        self._forecaster.stop()
        self._ingest.stop()
        self._bookkeeper.stop()
        self._historian.stop()
        self._housekeeper.stop()
        if self._webhook is not None:
            self._webhook.stop()
        slow = self._crew.join(_JOIN_SECONDS)
        if slow:
            log.warning("did not end in time: %s", ", ".join(slow))
        for worker in (self._historian, self._bookkeeper):
            if worker.part.name not in slow:  # else it has the one thread that may write
                worker.finish()  # what a thread that ended later still announced
        self._accuracy_store.close()
        self._history.close()
        self._journal.close()
        self._claim.close()
        log.info("stopped")
