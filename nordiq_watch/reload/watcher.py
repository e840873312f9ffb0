"""Notices changes under models/. Events are hints, the worker's look is the truth.

An observer (inotify or polling) turns any event into one job, "look again". A slow rescan looks anyway, because inotify
loses events when its queue overflows and is silent on network file systems. The directory itself is checked too: if it
is deleted and recreated, or a link changes its target, the observer would stay alive but deaf.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from nordiq_watch.parts import Part
from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.worker import LONGEST_PAUSE_OF_REQUIRED, Worker

log = logging.getLogger(__name__)

Mode = Literal["auto", "inotify", "poll"]

_CHANGES: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileClosedEvent,
    DirCreatedEvent,
    DirModifiedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]
"""Events of opening and closing without writing are left out: our own reading causes them."""

_ROOT_CHECK_SECONDS = 1.0
_STOP_SECONDS = 5.0


class QueueLook(FileSystemEventHandler):
    """Any event means that something changed under models/. Runs under the observer's lock, so it only queues."""

    def __init__(self, queue: ReloadQueue) -> None:
        self._queue = queue

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._queue.submit(LookAgain())


class Watcher(Worker):
    """Keeps an observer on the models directory, and looks anyway every `rescan_seconds`.

    `run` is the loop of its thread, `step` its body. `observers` maps a mode to a factory of observers.
    """

    def __init__(
        self,
        models_dir: Path,
        queue: ReloadQueue,
        *,
        mode: Mode,
        rescan_seconds: float,
        clock: Callable[[], float],
        make_observer: Callable[[str], BaseObserver] | None = None,
        part: Part | str = "watcher",
    ) -> None:
        super().__init__(part, longest_pause_seconds=LONGEST_PAUSE_OF_REQUIRED)
        self._models_dir = models_dir
        self._queue = queue
        self._mode = mode
        self._rescan_seconds = rescan_seconds
        self._clock = clock
        self._make_observer = make_observer or self._default_observer
        self._observer: BaseObserver | None = None
        self._watched: tuple[str, int, int] | None = None
        self._next_rescan = clock()
        self.active_mode: str | None = None

    def round(self) -> float:
        self.step()
        return min(_ROOT_CHECK_SECONDS, self._rescan_seconds)

    def finish(self) -> None:
        self._drop_observer()

    def step(self) -> None:
        """Makes sure that a living observer watches the right directory; requests a look when one is due."""
        identity = self._identify()
        if identity != self._watched or not self._is_listening():
            self._watch(identity)
            self._queue.submit(LookAgain())
        if self._clock() >= self._next_rescan:
            self._next_rescan = self._clock() + self._rescan_seconds
            if identity is not None and self._observer is None:
                self._watch(identity)  # there was no way to: no handles, no memory for a thread
            self._queue.submit(LookAgain())

    def _is_listening(self) -> bool:
        """An observer's emitter ends when its directory is deleted; a new directory may have the same inode."""
        observer = self._observer
        if observer is None:
            return True  # there is nothing to watch, or no way to until the next rescan
        return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)

    def _identify(self) -> tuple[str, int, int] | None:
        """Identity of models_dir: real path, device and inode. None if it does not exist."""
        try:
            real = self._models_dir.resolve()
            status = real.stat()
        except OSError:
            return None
        return (str(real), status.st_dev, status.st_ino)

    def _watch(self, identity: tuple[str, int, int] | None) -> None:
        self._drop_observer()
        self._watched = identity
        if identity is None:
            log.error("%s is not there: nothing new can be loaded; the live model goes on serving", self._models_dir)
            return
        modes = {"auto": ("inotify", "poll"), "inotify": ("inotify", "poll"), "poll": ("poll",)}[self._mode]
        for mode in modes:
            try:
                self._observer = self._start(mode, identity[0])
            except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
                reason = getattr(error, "strerror", None) or error
                log.warning("%s cannot be watched with %s (%s)", self._models_dir, mode, reason)
                continue
            self.active_mode = mode
            log.info("watching %s with %s, rescan every %g s", self._models_dir, mode, self._rescan_seconds)
            return
        self.active_mode = None
        log.error("%s cannot be watched: only the rescan every %g s is left", self._models_dir, self._rescan_seconds)

    def _start(self, mode: str, path: str) -> BaseObserver:
        observer = self._make_observer(mode)
        observer.schedule(QueueLook(self._queue), path, recursive=True, event_filter=_CHANGES)
        observer.daemon = True
        try:
            observer.start()
        except (OSError, RuntimeError):
            observer.stop()  # a part of it may run already
            raise
        return observer

    @staticmethod
    def _default_observer(mode: str) -> BaseObserver:
        observer: BaseObserver = PollingObserver(timeout=1.0) if mode == "poll" else Observer()
        return observer

    def _drop_observer(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_STOP_SECONDS)
            self._observer = None
