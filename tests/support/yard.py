"""A whole reload chain on real directories, stepped by hand: no thread, no clock, no sleep."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nordiq_watch.config import CanaryLimits
from nordiq_watch.events import EventBus, ModelQuarantined, ModelRejectedEvent, ModelWentLive, PinChanged
from nordiq_watch.live.published import Live
from nordiq_watch.records import Forecasting, ReloadRecord, WindowSnapshot
from nordiq_watch.reload.canary import Canary, OnLoss
from nordiq_watch.reload.catalogue import Catalogue
from nordiq_watch.reload.desk import ReloadDesk
from nordiq_watch.reload.history import ReloadHistory
from nordiq_watch.reload.jobs import Job, LookAgain
from nordiq_watch.reload.loader import Loader, Requirements
from nordiq_watch.reload.lookout import Lookout
from nordiq_watch.reload.promotion import Promotion
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.reload.room import Policy, Room
from nordiq_watch.reload.worker import ReloadWorker
from nordiq_watch.storage.decisions import DecisionStore
from support.models import ENCODER, METRICS, drop_model

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
    """In place of the forecaster: notes which generations were waited for, and what they were offered to say first."""

    def __init__(self) -> None:
        self.generations: list[int] = []
        self.offered: list[Forecasting | None] = []

    def offer(self, first: Forecasting | None) -> None:
        self.offered.append(first)

    def wake(self) -> None:
        pass

    def wait_for_generation(self, generation: int, timeout: float) -> bool:
        self.generations.append(generation)
        return True


@dataclass
class Yard:
    """One daemon's reload parts over `models_dir` and `state_dir`; `now` is both of its clocks."""

    models_dir: Path
    state_dir: Path
    now: float = 1_000.0
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
        clock = lambda: self.now  # noqa: E731
        bus = EventBus()
        for kind in (ModelWentLive, ModelRejectedEvent, ModelQuarantined, PinChanged):
            bus.subscribe(kind, self.events.append)
        requirements = Requirements(metrics=self.metrics, interval_seconds=300, window_length=ENCODER)
        self.loader = loader or Loader(requirements)
        self.live = Live()
        self.store = DecisionStore(self.state_dir / "decisions.json")
        self.history = ReloadHistory(self.state_dir / "reloads.jsonl")
        self.catalogue = Catalogue(self.models_dir)
        self.queue = ReloadQueue(wall_clock=clock, first_id=self.history.last_id + 1)
        self.lookout = Lookout(
            self.catalogue,
            self.store,
            settle_seconds=SETTLE_SECONDS,
            clock=clock,
            new_drop=lambda: f"drop-{next(self.drops)}",
            newest_slot=lambda: self.snapshot.last_slot if self.snapshot.servers else None,
        )
        self.worker = ReloadWorker(
            catalogue=self.catalogue,
            lookout=self.lookout,
            promotion=Promotion(
                self.loader,
                Canary(
                    CanaryLimits(),
                    snapshot=lambda: self.snapshot,
                    latest=lambda: None,
                    on_loss=self.on_loss,
                ),
                self.live,
                room=Room(
                    self.policy,
                    self.live,
                    device="cpu",
                    free_host_bytes=lambda: self.measure_free(),
                    free_device_bytes=lambda: 0,
                ),
                answers=self.answers,
                keep_previous=self.keeps_previous,
            ),
            live=self.live,
            store=self.store,
            history=self.history,
            queue=self.queue,
            events=bus,
            clock=clock,
            wall_clock=clock,
            pause=self._pause,
        )
        self.desk = ReloadDesk(
            queue=self.queue,
            worker=self.worker,
            history=self.history,
            catalogue=self.catalogue,
            lookout=self.lookout,
            store=self.store,
            live=self.live,
        )

    def _pause(self, seconds: float) -> None:
        self.now += seconds
        self.on_pause()

    def drop(self, name: str, **what: Any) -> Path:
        return drop_model(self.models_dir, name, **what)

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
    def generation(self) -> int:
        live = self.live.peek()
        return live.identity.generation if live else 0

    def states(self) -> dict[str, str]:
        return {status.version.name: status.state for status in self.desk.statuses()}

    def reason(self, name: str) -> str:
        return next(status.reason or "" for status in self.desk.statuses() if status.version.name == name)
