"""The reload room, put together: from the watcher on the models directory to the one thread that swaps models."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex
from typing import Protocol

from nordiq_watch import __version__
from nordiq_watch.artifact.signature import trust_in
from nordiq_watch.config.schema import Config
from nordiq_watch.config.settings import Settings
from nordiq_watch.events import EventBus, ModelWentLive
from nordiq_watch.live.published import Live
from nordiq_watch.parts import Part, Parts
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.canary import Canary
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.loader import Loader, Requirements
from nordiq_watch.reload.memory_guard import MemoryGuard
from nordiq_watch.reload.promoter import AnswerPublisher, Promoter
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.reload.refusals import digest_criteria
from nordiq_watch.reload.retention import Retention
from nordiq_watch.reload.service import ReloadService
from nordiq_watch.reload.version_source import VersionSource
from nordiq_watch.reload.watcher import Watcher
from nordiq_watch.reload.worker import ReloadWorker
from nordiq_watch.storage.decisions import DecisionStore


def _new_drop_id() -> str:
    return token_hex(4)


class LiveWindow(Protocol):
    """The samples that candidates are tried on."""

    @property
    def newest_slot(self) -> int | None: ...

    def snapshot(self) -> WindowSnapshot: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the reload room takes from the machine and from chance.

    clock: Unix time. timer: monotonic seconds. pause: waits that many seconds, or less when the daemon stops.
    free_host_bytes and free_device_bytes measure now. new_drop_id: a correlation id for each drop.
    """

    pause: Callable[[float], object]
    free_host_bytes: Callable[[], int]
    free_device_bytes: Callable[[], int]
    device: str = "cpu"
    clock: Callable[[], float] = time.time
    timer: Callable[[], float] = time.monotonic
    new_drop_id: Callable[[], str] = _new_drop_id


@dataclass(frozen=True, slots=True)
class ReloadParts:
    """service: what the rest of the daemon asks. worker and watcher have a thread each; queue lies between them."""

    queue: ReloadQueue
    worker: ReloadWorker
    watcher: Watcher
    service: ReloadService
    decisions: DecisionStore
    history: ReloadHistory


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of the versions: those on disk, what was decided about them, and the jobs, past and waiting."""

    catalogue: Catalogue
    decisions: DecisionStore
    history: ReloadHistory
    queue: ReloadQueue


def build_reload(
    settings: Settings,
    events: EventBus,
    *,
    live: Live,
    window: LiveWindow,
    answers: AnswerPublisher,
    surroundings: Surroundings,
    parts: Parts,
    loader: Loader | None = None,
) -> ReloadParts:
    """Reads the decisions and the history of reloads. StorageError for damaged decisions.

    loader: in place of the one that the settings describe.
    """
    config = settings.config
    state = _open_state(settings, clock=surroundings.clock, parts=parts)
    version_source = _build_version_source(config, state, window=window, surroundings=surroundings)
    guard = _build_memory_guard(config, live, surroundings)
    loader = loader or Loader(requirements_of(config), check_trust=trust_in(config.models.trusted_keys))
    canary = Canary(
        config.reload.canary, snapshot=window.snapshot, latest=answers.latest, on_loss=config.reload.on_loss
    )
    keeps_previous = config.reload.auto_rollback
    promoter = Promoter(loader, canary, live, memory_guard=guard, answers=answers, keep_previous=keeps_previous)
    worker = _build_worker(
        state, events, live=live, version_source=version_source, promoter=promoter, surroundings=surroundings,
        part=parts.of("reload"),
    )  # fmt: skip
    if config.models.keep is not None:
        retention = Retention(state.catalogue, state.decisions, keep=config.models.keep, clock=surroundings.clock)
        events.subscribe(ModelWentLive, retention.after_swap)
    return ReloadParts(
        queue=state.queue,
        worker=worker,
        watcher=_build_watcher(settings, state.queue, timer=surroundings.timer, parts=parts),
        service=_build_service(state, live=live, version_source=version_source, worker=worker),
        decisions=state.decisions,
        history=state.history,
    )


def _open_state(settings: Settings, *, clock: Callable[[], float], parts: Parts) -> _State:
    history = ReloadHistory(settings.state_dir / "reloads.jsonl", part=parts.of("reload-history"))
    return _State(
        catalogue=Catalogue(settings.models_dir),
        decisions=_open_decisions(settings, parts=parts),
        history=history,
        queue=ReloadQueue(wall_clock=clock, first_id=history.last_id + 1),
    )


def _build_version_source(
    config: Config, state: _State, *, window: LiveWindow, surroundings: Surroundings
) -> VersionSource:
    return VersionSource(
        state.catalogue,
        state.decisions,
        settle_seconds=config.watch.settle_seconds,
        clock=surroundings.timer,
        new_drop=surroundings.new_drop_id,
        newest_slot=lambda: window.newest_slot,
        wall_clock=surroundings.clock,
    )


def _build_memory_guard(config: Config, live: Live, surroundings: Surroundings) -> MemoryGuard:
    return MemoryGuard(
        config.reload.policy,
        live,
        device=surroundings.device,
        free_host_bytes=surroundings.free_host_bytes,
        free_device_bytes=surroundings.free_device_bytes,
    )


def _build_worker(
    state: _State,
    events: EventBus,
    *,
    live: Live,
    version_source: VersionSource,
    promoter: Promoter,
    surroundings: Surroundings,
    part: Part,
) -> ReloadWorker:
    return ReloadWorker(
        catalogue=state.catalogue,
        version_source=version_source,
        promoter=promoter,
        live=live,
        store=state.decisions,
        history=state.history,
        queue=state.queue,
        events=events,
        clock=surroundings.timer,
        wall_clock=surroundings.clock,
        pause=surroundings.pause,
        part=part,
    )


def _build_service(state: _State, *, live: Live, version_source: VersionSource, worker: ReloadWorker) -> ReloadService:
    return ReloadService(
        queue=state.queue,
        worker=worker,
        history=state.history,
        catalogue=state.catalogue,
        version_source=version_source,
        store=state.decisions,
        live=live,
    )


def requirements_of(config: Config) -> Requirements:
    """What a daemon with these settings expects of every model."""
    return Requirements(config.metrics, config.window.interval_seconds, config.window.length)


def _open_decisions(settings: Settings, *, parts: Parts) -> DecisionStore:
    """What was refused by another program, or under other settings, may be tried again."""
    config = settings.config
    store = DecisionStore(settings.state_dir / "decisions.json", part=parts.of("decision-file"))
    store.hold_against(
        digest_criteria(
            __version__,
            requirements_of(config),
            config.models.trusted_keys,
            config.reload.canary,
            config.reload.on_loss,
        )
    )
    return store


def _build_watcher(settings: Settings, queue: ReloadQueue, *, timer: Callable[[], float], parts: Parts) -> Watcher:
    watch = settings.config.watch
    return Watcher(
        settings.models_dir,
        queue,
        mode=watch.mode,
        rescan_seconds=watch.rescan_seconds,
        clock=timer,
        part=parts.of("watcher"),
    )
