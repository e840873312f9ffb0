"""The composition root: builds every room, starts their threads in order, stops them in reverse.

Data before models, models before requests: each thread starts after those that it needs. docs/architecture.md lists the
threads, and what each of them writes.
"""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
from functools import partial

import msgspec

from nordiq_watch import __version__
from nordiq_watch.alerting.build import build_alerting
from nordiq_watch.api.enums import ReloadTrigger
from nordiq_watch.config.environment import find_supervision
from nordiq_watch.config.load import DEFAULT_FILE
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.events import EventBus, ModelWentLive
from nordiq_watch.explain.explanations import Explanations
from nordiq_watch.forecast.build import BaselineSettings, build_forecast
from nordiq_watch.host.event_log import tell_log
from nordiq_watch.host.file_handles import raise_file_limit
from nordiq_watch.host.housekeeper import Housekeeper
from nordiq_watch.host.http import ConnectionCounts, HttpServer
from nordiq_watch.host.log_tail import read_records
from nordiq_watch.host.logs import check_log, tell_log_part
from nordiq_watch.host.memory import free_host_bytes
from nordiq_watch.host.models_dir import prepare_models_dir
from nordiq_watch.host.state_dir import StateLock
from nordiq_watch.host.systemd import Heartbeats, ServiceManager, WatchdogNotifier, passed_socket
from nordiq_watch.host.threads import take_turns_sooner
from nordiq_watch.host.worker_group import WorkerGroup
from nordiq_watch.ingest.build import build_ingest
from nordiq_watch.live.published import Live
from nordiq_watch.network.predictor import free_device_bytes, limit_threads, resolve_device
from nordiq_watch.parts import Parts
from nordiq_watch.quality.build import build_quality
from nordiq_watch.reload.build import Surroundings, build_reload
from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.roster.build import build_roster
from nordiq_watch.security.build import build_security
from nordiq_watch.settings_reload import SettingsReload
from nordiq_watch.storage.build import build_history
from nordiq_watch.web.admission import Gate
from nordiq_watch.web.app import create_app
from nordiq_watch.web.collectors import translators
from nordiq_watch.web.services import Services
from nordiq_watch.web.sessions import Sessions, name_cookie
from nordiq_watch.web.slot_ends import say_slot_ends

log = logging.getLogger(__name__)

_JOIN_SECONDS = 10.0

_BACKGROUND = 5
"""Niceness of the thread that forecasts: where cores are short, requests and samples go first. A reload is rare, and
made to wait it took seconds instead of one.
"""

_LOWEST = 15
"""Of the thread of the built-in baseline, which learns for seconds at a time."""


class Daemon:
    """One running nordiq_watch. Building it binds the port and opens the journal; `run` serves until `stop`.

    Raises ConfigError or StorageError, one clear line, if it cannot run here.
    """

    def __init__(self, settings: Settings) -> None:
        self._supervision = find_supervision()
        listener = passed_socket(self._supervision)
        host = listener.getsockname()[0] if listener else settings.config.server.host
        self._settings = msgspec.structs.replace(settings, bound_host=host)
        self._stopping = threading.Event()
        self._manager = ServiceManager(self._supervision.notify_socket)
        self._heartbeats = Heartbeats(stuck_seconds=settings.config.watchdog.stuck_seconds)
        self._workers = WorkerGroup(stuck_seconds=settings.config.watchdog.stuck_seconds)
        self._events = EventBus()
        self._live = Live()
        self._prepare_host()
        self._build_rooms()
        self.reload_settings = SettingsReload(
            self._settings,
            security=self._security,
            queue=self._reload.queue,
            manager=self._manager,
            status=self._live.describe,
        )
        tally = ConnectionCounts()
        services = self._make_services(tally)
        self._app = app = create_app(services)
        self._translators = translators(app)
        self.http = HttpServer(app, settings.config.server, listener=listener, admit=Gate(app, services), tally=tally)

    def _prepare_host(self) -> None:
        """What the rooms stand on: file handles, directories, the lock on the state directory, the log."""
        settings = self._settings
        raise_file_limit()
        prepare_models_dir(settings.models_dir, allow_world_writable=settings.config.models.allow_world_writable)
        self._parts = Parts(hidden=(settings.state_dir, settings.log_file.parent, settings.root))
        tell_log_part(self._parts.of("log"))
        tell_log(self._events)
        self._lock = StateLock(settings.state_dir, part=self._parts.of("lock"))

    def _build_rooms(self) -> None:
        """As the data go: security; samples, history, alerts, quality, forecasts; and the reloads of what forecasts."""
        settings, events, live, parts = self._settings, self._events, self._live, self._parts
        device = resolve_device(settings.config.device)
        self._security = build_security(settings, parts=parts)
        self._roster = build_roster(settings, events, parts=parts)
        self._ingest = build_ingest(
            settings, events, live=live, device=device, parts=parts, free_bytes=free_host_bytes,
            labels_of=self._roster.labels.of,
        )  # fmt: skip
        self._history = build_history(settings, events, parts=parts)
        self._alerting = build_alerting(
            settings, events, ingest=self._ingest, history=self._history, roster=self._roster, parts=parts
        )
        self._quality = build_quality(settings, events, live=live, measured=self._ingest.window.measured, parts=parts)
        self._forecast = build_forecast(
            events,
            live=live,
            ingest=self._ingest,
            evaluator=self._alerting.evaluator,
            parts=parts,
            factors_for=self._quality.bands.factors_for,
            baseline=_baseline_of(settings.config),
            render_ahead=settings.config.answers.render_ahead,
        )
        self._reload = build_reload(
            settings,
            events,
            live=live,
            window=self._ingest.window,
            answers=self._forecast.forecaster,
            surroundings=Surroundings(
                pause=self._stopping.wait,
                device=device,
                free_host_bytes=free_host_bytes,
                free_device_bytes=partial(free_device_bytes, device),
            ),
            parts=parts,
        )
        self._housekeeper = self._make_housekeeper()

    def _make_housekeeper(self) -> Housekeeper:
        checks = (
            check_log,
            self._security.audit.check,
            self._lock.check,
            self._ingest.sources.tell_due,
            self._roster.check,
            lambda: say_slot_ends(self._app),
        )
        return Housekeeper(checks, part=self._parts.of("housekeeper"))

    def _make_services(self, tally: ConnectionCounts) -> Services:
        return Services(
            config=self._settings.config,
            events=self._events,
            parts=self._parts,
            live=self._live,
            security=self._security,
            ingest=self._ingest,
            history=self._history,
            roster=self._roster,
            alerting=self._alerting,
            forecast=self._forecast,
            explanations=Explanations(self._live, self._alerting.evaluator, clock=time.time),
            quality=self._quality,
            reloads=self._reload.service,
            clock=time.time,
            started_at=time.time(),
            read_log=partial(read_records, self._settings.log_file),
            connections=tally,
            sessions=Sessions(clock=time.monotonic, cookie=name_cookie(self._settings.state_dir)),
        )

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
        if self._ingest.window.servers_tracked:  # else it may be the disk that holds them back
            self._roster.labels.keep(self._ingest.window.tracks)
        self._translators.restore(settings.state_dir)
        gc.freeze()  # what lives as long as the daemon is not walked again whenever a feed makes many objects
        self._start_workers()
        notifier = self._start_notifier()
        log.info("serving on %s", self.http.url)
        try:
            self.http.run(self._heartbeats.of("http"))
        finally:
            notifier.stop()
            self._manager.stopping()
            self._shut_down()

    def stop(self) -> None:
        """Makes `run` return, once requests in flight are answered. From any thread or a signal handler."""
        self._stopping.set()
        self._reload.queue.close()  # requests that wait for a reload are answered now
        self.http.stop()

    def _start_workers(self) -> None:
        self._workers.start(self._ingest.worker, required=True)
        if self._alerting.webhook is not None:
            self._workers.start(self._alerting.webhook)
        self._workers.start(self._history.writer)
        self._workers.start(self._quality.accuracy)
        self._workers.start(self._housekeeper)
        self._workers.start(self._forecast.forecaster, nice=_BACKGROUND, required=True)
        if self._forecast.baseline_worker is not None:
            self._workers.start(self._forecast.baseline_worker, nice=_LOWEST)
        self._reload.queue.submit(LookAgain(trigger=ReloadTrigger.STARTUP))
        self._workers.start(self._reload.worker, required=True)
        if self._settings.config.watch.enabled:
            self._workers.start(self._reload.watcher, required=True)
        else:
            log.info("watch.enabled is false: new models go live only on request")

    def _start_notifier(self) -> WatchdogNotifier:
        """From now on systemd is told that the API answers, what is live, and that all threads are well."""
        notifier = WatchdogNotifier(
            self._manager,
            url=self.http.url,
            watchdog_seconds=self._supervision.watchdog_seconds,
            find_fault=lambda: self._workers.find_fault() or self._heartbeats.missing(),
            describe=self._live.describe,
            part=self._parts.of("watchdog"),
        )
        self._events.subscribe(ModelWentLive, lambda _: self._manager.status(self._live.describe()))
        self._workers.start(notifier)
        return notifier

    def _shut_down(self) -> None:
        """Stops producers, then workers, then closes the stores, the journal last."""
        self._stopping.set()
        self._reload.watcher.stop()
        self._reload.queue.close()
        self._forecast.forecaster.stop()
        if self._forecast.baseline_worker is not None:
            self._forecast.baseline_worker.stop()
        self._ingest.worker.stop()
        self._quality.accuracy.stop()
        self._history.writer.stop()
        self._housekeeper.stop()
        if self._alerting.webhook is not None:
            self._alerting.webhook.stop()
        slow = self._workers.join(_JOIN_SECONDS)
        if slow:
            log.warning("did not end in time: %s", ", ".join(slow))
        for worker in (self._history.writer, self._quality.accuracy):
            if worker.part.name not in slow:  # else it has the one thread that may write
                worker.finish()  # what a thread that ended later still announced
        self._translators.save(self._settings.state_dir)
        self._quality.store.close()
        self._history.store.close()
        self._roster.store.close()
        self._ingest.journal.close()
        self._lock.close()
        log.info("stopped")


def _baseline_of(config: Config) -> BaselineSettings | None:
    if not config.answers.baseline:
        return None
    return BaselineSettings(config.training.max_prediction_length, config.quality.max_servers)
