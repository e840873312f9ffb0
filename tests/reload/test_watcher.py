"""Real inotify and real polling: what the operating system says must end in one waiting look."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from nordiq_watch.reload.jobs import LookAgain
from nordiq_watch.reload.queue import ReloadQueue
from nordiq_watch.reload.watcher import Mode, Watcher

A = "tft_model_20250101_000000"
PATIENCE_SECONDS = 20
STEP_SECONDS = 0.1


class Watched:
    """A watcher over a directory with a rescan that never comes, so that only events can cause a look."""

    def __init__(self, models_dir: Path, mode: Mode, **options: Any) -> None:
        self.models_dir = models_dir
        self.queue = ReloadQueue(wall_clock=lambda: 0.0)
        self.watcher = Watcher(models_dir, self.queue, mode=mode, rescan_seconds=1e9, clock=lambda: 0.0, **options)
        self.watcher.step()
        self.drain()

    def drain(self) -> None:
        while self.queue.take(0):
            pass

    def sees_something(self) -> bool:
        taken = self.queue.take(PATIENCE_SECONDS)
        return taken is not None and taken[0] == LookAgain()

    def sees_something_while_it_runs(self) -> bool:
        """As its thread does: step by step, because a new directory may have the inode of the old one, and then only
        the end of the old one's emitter shows that it is another.
        """
        for _ in range(int(PATIENCE_SECONDS / STEP_SECONDS)):
            self.watcher.step()
            if self.queue.take(STEP_SECONDS):
                return True
        return False


@pytest.fixture(params=["inotify", "poll"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    models_dir = tmp_path / "models"
    models_dir.mkdir()
    watched = Watched(models_dir, request.param)
    assert watched.watcher.active_mode == request.param
    yield watched
    watched.watcher.stop()
    watched.watcher.run()


def test_a_finished_directory_renamed_within(watched: Watched) -> None:
    hidden = watched.models_dir / f".{A}.x"
    hidden.mkdir()
    (hidden / "config.json").write_text("{}")
    assert watched.sees_something()
    watched.drain()
    hidden.rename(watched.models_dir / A)
    assert watched.sees_something()


def test_a_directory_moved_in_from_outside(watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path / A
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    shutil.move(outside, watched.models_dir)
    assert watched.sees_something()


def test_a_file_written_into_a_version_that_is_there(tmp_path: Path) -> None:
    (tmp_path / A).mkdir()
    watched = Watched(tmp_path, "inotify")
    (tmp_path / A / "config.json").write_text("{}")
    assert watched.sees_something()
    watched.watcher.stop()
    watched.watcher.run()


def test_a_linked_models_directory(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "models").symlink_to(real)
    watched = Watched(tmp_path / "models", "inotify")
    (real / A).mkdir()
    assert watched.sees_something()
    watched.watcher.stop()
    watched.watcher.run()


def test_a_models_directory_deleted_and_made_again(watched: Watched) -> None:
    shutil.rmtree(watched.models_dir)
    watched.models_dir.mkdir()
    assert watched.sees_something_while_it_runs()
    watched.drain()
    (watched.models_dir / A).mkdir()
    assert watched.sees_something_while_it_runs()


def test_a_models_directory_that_comes_later(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "models", "inotify")
    assert watched.watcher.active_mode is None
    (tmp_path / "models").mkdir()
    watched.watcher.step()
    assert watched.sees_something()
    assert watched.watcher.active_mode == "inotify"
    watched.watcher.stop()
    watched.watcher.run()


def test_without_inotify_it_polls_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Exhausted(Observer):  # type: ignore[misc, valid-type]
        def start(self) -> None:
            raise OSError(errno.EMFILE, "inotify instance limit reached")

    def make(mode: str) -> BaseObserver:
        return PollingObserver(timeout=0.05) if mode == "poll" else Exhausted()

    watched = Watched(tmp_path, "auto", make_observer=make)
    assert watched.watcher.active_mode == "poll"
    assert "cannot be watched with inotify (inotify instance limit reached)" in caplog.text
    (tmp_path / A).mkdir()
    assert watched.sees_something()
    watched.watcher.stop()
    watched.watcher.run()


def test_a_directory_that_cannot_be_watched_at_all_is_tried_again_at_each_rescan(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class WithoutThreads(PollingObserver):
        short = True

        def start(self) -> None:
            if self.short:
                raise RuntimeError("can't start new thread")
            super().start()

    now = [0.0]
    watcher = Watcher(
        tmp_path,
        ReloadQueue(wall_clock=lambda: 0.0),
        mode="poll",
        rescan_seconds=30,
        clock=lambda: now[0],
        make_observer=lambda _: WithoutThreads(),
    )
    watcher.step()
    assert watcher.active_mode is None
    assert "cannot be watched with poll (can't start new thread)" in caplog.text
    WithoutThreads.short = False
    now[0] = 31.0
    watcher.step()
    assert watcher.active_mode == "poll"
    watcher.stop()
    watcher.run()


def test_a_rescan_looks_without_any_event(tmp_path: Path) -> None:
    now = [0.0]
    queue = ReloadQueue(wall_clock=lambda: 0.0)
    watcher = Watcher(tmp_path, queue, mode="poll", rescan_seconds=30, clock=lambda: now[0])
    watcher.step()
    queue.take(0)
    now[0] = 29.0
    watcher.step()
    assert queue.take(0) is None
    now[0] = 31.0
    watcher.step()
    assert queue.take(0) is not None
    watcher.stop()
    watcher.run()


def test_a_dead_observer_is_replaced(tmp_path: Path) -> None:
    made: list[BaseObserver] = []

    def make(mode: str) -> BaseObserver:
        made.append(PollingObserver(timeout=0.05))
        return made[-1]

    watched = Watched(tmp_path, "poll", make_observer=make)
    made[0].stop()
    made[0].join()
    watched.watcher.step()
    assert len(made) == 2
    assert watched.sees_something()
    watched.watcher.stop()
    watched.watcher.run()


def test_stop_ends_the_thread(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "inotify")
    thread = threading.Thread(target=watched.watcher.run)
    thread.start()
    watched.watcher.stop()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
