"""Processes that `init` leaves running where no systemd can keep them: the daemon, and the agent."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from nordiq_watch.cli.connection import address_of, connect
from nordiq_watch.cli.demo_daemon import command
from nordiq_watch.client.client import Client
from nordiq_watch.config.environment import environment_without_settings
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ClientError, DaemonAway, NordiqError

START_SECONDS = 120.0
SEEN_ALIVE_SECONDS = 3.0
LOOK_AGAIN_SECONDS = 0.2
LAST_LINES = 3


def find_daemon(settings: Settings) -> Client | None:
    """A client of the daemon that runs with these settings; None if nothing answers at its address.

    Raises ClientError if what answers there is not this daemon.
    """
    client = Client(address_of(settings.config), retries=0)
    try:
        client.http.get("/health")
    except DaemonAway:
        return None
    except NordiqError:
        raise _not_ours(client.url) from None
    own = connect(client.url, config=settings.file)
    try:
        own.model_info()
    except NordiqError:
        raise _not_ours(client.url) from None
    return own


def start_daemon(settings: Settings) -> tuple[Client, int]:
    """Starts `serve` in the background; its client, once it answers, and its process. ClientError with its last words
    if it ends.
    """
    output = settings.log_file.with_name("serve.out")
    process = start(output, "serve", "--config", settings.file)
    deadline = time.monotonic() + START_SECONDS
    while True:
        client = None if process.poll() is not None else find_daemon(settings)
        if client is not None:
            return client, process.pid
        _check(process, output, name="daemon")
        if time.monotonic() > deadline:
            raise ClientError(f"the daemon does not answer after {START_SECONDS:g} s; see {output}")
        time.sleep(LOOK_AGAIN_SECONDS)


def start_agent(settings: Settings, *options: object) -> int:
    """Starts `agent` in the background; its process. ClientError with its last words if it ends at once."""
    output = settings.log_file.with_name("agent.out")
    process = start(output, "agent", *options)
    try:
        process.wait(SEEN_ALIVE_SECONDS)
    except subprocess.TimeoutExpired:
        return process.pid
    _check(process, output, name="agent")
    return process.pid


def start(output: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """A process in a session of its own, which outlives this one."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(
            command(*arguments),
            env=environment_without_settings(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _check(process: subprocess.Popen[bytes], output: Path, *, name: str) -> None:
    if process.poll() is not None:
        words = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = " ".join(words[-LAST_LINES:]) or "without a word"
        raise ClientError(f"the {name} ended with exit code {process.returncode}: {said}")


def _not_ours(url: str) -> ClientError:
    return ClientError(f"{url} is taken by another program, or a daemon with other keys; take another --port")
