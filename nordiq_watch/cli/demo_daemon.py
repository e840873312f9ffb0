"""The demo's daemon: the real `serve` as a child process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, NoReturn, Self

from nordiq_watch.cli.connection import connect
from nordiq_watch.cli.demo_folder import Folder
from nordiq_watch.client.client import Client
from nordiq_watch.config.environment import environment_without_settings
from nordiq_watch.errors import ClientError, DaemonAway

START_SECONDS = 60.0
STOP_SECONDS = 20.0
LOOK_AGAIN_SECONDS = 0.1


def command(*arguments: object) -> list[str]:
    """A command of nordiq_watch, to be run as a process of its own."""
    return [sys.executable, "-m", "nordiq_watch", *map(str, arguments)]


def wait_until(holds: Callable[[], bool], seconds: float, *, what: str) -> None:
    """Returns when `holds()`. Raises ClientError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise ClientError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(LOOK_AGAIN_SECONDS)


class Daemon:
    """A context manager. The process has its own session: a Ctrl-C reaches it through this one, and only once."""

    def __init__(self, folder: Folder, *, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes]
        self._output: IO[bytes]

    def __enter__(self) -> Self:
        self._output = self._folder.output.open("wb")
        self._process = subprocess.Popen(
            command("serve", "--config", self._folder.config),
            env=environment_without_settings(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()

    def connect(self) -> Client:
        """A separate client for each thread."""
        return connect(self.url, key_file=self._folder.key_file)

    def await_answer(self) -> None:
        """Returns once it answers, with or without a model. ClientError with its last output if it ends first."""
        wait_until(self._answers, START_SECONDS, what=f"the daemon to answer; see {self._folder.output}")

    def check(self) -> None:
        """Raises ClientError with its last output if it has ended."""
        if self._process.poll() is not None:
            self._raise_ended()

    def _answers(self) -> bool:
        self.check()
        try:
            return Client(self.url, retries=0).http.get("/health").status == 200
        except DaemonAway:
            return False

    def _raise_ended(self) -> NoReturn:
        words = self._folder.output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = words[-1] if words else "it said nothing"
        raise ClientError(f"the daemon ended with exit code {self._process.returncode}: {last}")
