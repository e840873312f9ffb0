"""A whole reload chain on real directories, stepped by hand: no thread, no clock, no sleep."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nordiq_watch.config.schema import (
    Config,
    ModelSettings,
    ReloadSettings,
    StateSettings,
    WatchSettings,
    WindowSettings,
)
from nordiq_watch.config.settings import Settings
from nordiq_watch.events import EventBus, ModelQuarantined, ModelRejectedEvent, ModelWentLive, PinChanged
from nordiq_watch.live.published import Live, Serving
from nordiq_watch.live.servable import Servable
from nordiq_watch.parts import Parts
from nordiq_watch.records.forecasts import Forecasting
from nordiq_watch.records.reloads import ReloadRecord
from nordiq_watch.records.samples import WindowSnapshot
from nordiq_watch.reload.build import Surroundings, build_reload
from nordiq_watch.reload.canary import OnLoss
from nordiq_watch.reload.jobs import Job, LookAgain
from nordiq_watch.reload.loader import Loader
from nordiq_watch.reload.memory_guard import Policy
from support.models import ENCODER, METRICS, drop_model, drop_model_with_extras
from support.optional import not_none
from support.serving import serving_of

SETTLE_SECONDS = 1.0


def full_window(servers: int = 3, slots: int = ENCODER) -> WindowSnapshot:
    """A warm fleet with a little noise around 40 % CPU and 60 % memory."""
    chance = np.random.default_rng(1)
    level = np.array([40.0, 60.0])
    values = level + chance.normal(scale=2.0, size=(servers, slots, len(METRICS)))
    return WindowSnapshot(
        servers=tuple(f"ppdb{number:03}" for number in range(servers)),
        profiles=("Database",) * servers,
        metrics=METRICS,
        interval_seconds=300,
        last_slot=5_000_000,
        values=values.astype(np.float32),
        statuses=np.zeros((servers, slots), dtype=np.uint8),
    )


class Answered:
    """In place of the forecaster: notes which generations were prepared, and what they had forecast already.

    failure: what the next forecast of a whole fleet raises.
    """

    def __init__(self) -> None:
        self.generations: list[int] = []
        self.tried: list[Forecasting | None] = []
        self.swaps = 0
        self.failure: Exception | None = None

    def latest(self) -> Forecasting | None:
        return None

    def prepare(self, candidate: Servable, tried: Forecasting | None) -> Serving:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        self.generations.append(candidate.identity.generation)
        self.tried.append(tried)
        return serving_of(candidate)

    def note_swap(self) -> None:
        self.swaps += 1


@dataclass
class Yard:
    """One daemon's reload parts over `models_dir` and `state_dir`; `now` is both of its clocks."""

    models_dir: Path
    state_dir: Path
    now: float = 1_750_000_000.0  # after the names of the versions that tests drop
    snapshot: WindowSnapshot = field(default_factory=full_window)
    events: list[object] = field(default_factory=list)
    answers: Answered = field(default_factory=lambda: Answered())
    metrics: tuple[str, ...] = METRICS
    policy: Policy = "auto"
    on_loss: OnLoss = "warn"
    keeps_previous: bool = True
    free_bytes: int = 2**40
    measure_free: Callable[[], int] | None = None
    on_pause: Callable[[], None] = lambda: None
    drops: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.measure_free = self.measure_free or (lambda: self.free_bytes)
        self.start()

    def start(self, loader: Loader | None = None) -> None:
        """Builds all parts anew, as a restart does: only what is on disk is remembered."""
        bus = EventBus()
        for kind in (ModelWentLive, ModelRejectedEvent, ModelQuarantined, PinChanged):
            bus.subscribe(kind, self.events.append)
        self.live = Live()
        reload = build_reload(
            self.settings,
            bus,
            live=self.live,
            window=_YardWindow(self),
            answers=self.answers,
            surroundings=Surroundings(
                pause=self._pause,
                free_host_bytes=lambda: not_none(self.measure_free)(),
                free_device_bytes=lambda: 0,
                clock=lambda: self.now,
                timer=lambda: self.now,
                new_drop_id=lambda: f"drop-{next(self.drops)}",
            ),
            parts=Parts(hidden=(self.state_dir,)),
            loader=loader,
        )
        self.queue, self.worker, self.service = reload.queue, reload.worker, reload.service
        self.store, self.history = reload.decisions, reload.history

    @property
    def settings(self) -> Settings:
        return Settings(
            config=Config(
                metrics=self.metrics,
                models=ModelSettings(dir=str(self.models_dir)),
                state=StateSettings(dir=str(self.state_dir)),
                watch=WatchSettings(settle_seconds=SETTLE_SECONDS),
                window=WindowSettings(interval_seconds=300, length=ENCODER),
                reload=ReloadSettings(policy=self.policy, auto_rollback=self.keeps_previous, on_loss=self.on_loss),
            ),
            root=self.state_dir.parent,
        )

    def _pause(self, seconds: float) -> None:
        self.now += seconds
        self.on_pause()

    def drop(self, name: str, **what: Any) -> Path:
        return drop_model(self.models_dir, name, **what)

    def drop_with_extras(self, name: str, **what: Any) -> Path:
        return drop_model_with_extras(self.models_dir, name, **what)

    def look(self) -> None:
        """What any event leads to: one look, and all that follows from it at this moment."""
        self.queue.submit(LookAgain())
        self.work()

    def work(self) -> None:
        while self.worker.step(timeout=0):
            pass

    def ask(self, job: Job) -> ReloadRecord:
        ticket = self.queue.submit(job)
        self.work()
        return ticket.wait(0)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.work()

    @property
    def live_name(self) -> str | None:
        live = self.live.peek()
        return live.name if live else None

    @property
    def model(self) -> Servable:
        """The live one; fails the test without one."""
        return not_none(self.live.peek())

    @property
    def generation(self) -> int:
        live = self.live.peek()
        return live.identity.generation if live else 0

    def states(self) -> dict[str, str]:
        return {status.version.name: status.state for status in self.service.statuses()}

    def reason(self, name: str) -> str:
        return next(status.reason or "" for status in self.service.statuses() if status.version.name == name)


class _YardWindow:
    """The yard's snapshot, as a window gives it."""

    def __init__(self, yard: Yard) -> None:
        self._yard = yard

    @property
    def newest_slot(self) -> int | None:
        snapshot = self.snapshot()
        return snapshot.last_slot if snapshot.servers else None

    def snapshot(self) -> WindowSnapshot:
        return self._yard.snapshot
