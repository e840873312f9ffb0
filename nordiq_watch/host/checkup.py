"""Checks whether this machine meets the daemon's needs: each check answers one question in plain words."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Literal

from nordiq_watch.artifact.layout import is_candidate
from nordiq_watch.config.addresses import reachable_host
from nordiq_watch.config.fleet_memory import AUTO, bytes_per_server, max_servers, needed_bytes
from nordiq_watch.config.settings import Settings
from nordiq_watch.errors import ConfigError
from nordiq_watch.host.memory import free_host_bytes
from nordiq_watch.security.key_file import KeyFile, read_key_file

_GIGABYTE = 1e9
_LEAST_DISK_GB = 1.0
_LEAST_MEMORY_GB = 1.0
_LEAST_INOTIFY_WATCHES = 64
_MODELS_IN_MEMORY = 3
"""The live model, the previous one and the next."""

_OLDEST_SANE_CLOCK = 1_704_067_200  # 2024-01-01: a machine without a battery starts in 1970
_ANSWER_SECONDS = 2
_ANSWER_BYTES = 1000
_INOTIFY = Path("/proc/sys/fs/inotify")

State = Literal["good", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check. bad: the daemon will not start or not work; warning: it will, but needs attention."""

    check: str
    state: State
    words: str


def examine(settings: Settings, *, clock: Callable[[], float] = time.time, inotify: Path = _INOTIFY) -> list[Finding]:
    """All checks of the machine that need no torch, in the order in which a start would meet them."""
    return [
        check_port(settings),
        check_keys(settings),
        *check_directories(settings),
        check_models_dir_mode(settings),
        check_inotify(settings, inotify),
        check_memory(settings),
        check_fleet_memory(settings),
        *check_disk(settings),
        check_clock(clock),
    ]


def check_port(settings: Settings) -> Finding:
    server = settings.config.server
    if server.port == 0:
        return Finding("port", "warning", "server.port is 0: any free port is taken, and clients must be told which")
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.create_server((server.host, server.port), family=family):
            return Finding("port", "good", f"{server.host} port {server.port} is free")
    except (OSError, UnicodeError) as error:
        if _is_ours(server.host, server.port):
            return Finding("port", "good", f"a nordiq_watch answers at {server.host} port {server.port} already")
        why = getattr(error, "strerror", None) or "no such host is known"
        return Finding("port", "bad", f"{server.host} port {server.port} cannot be listened on ({why})")


def check_keys(settings: Settings) -> Finding:
    if settings.api_key is not None:
        return Finding("keys", "good", "the API key is in the environment")
    try:
        content = read_key_file(settings.key_file) or KeyFile()
    except ConfigError as error:
        return Finding("keys", "bad", str(error))
    if not content.has_admin and settings.other_machines:
        words = f"server.host is {settings.config.server.host} and there is no admin key: the daemon will not start"
        return Finding("keys", "bad", words)
    if content == KeyFile():
        return Finding("keys", "good", f"there is none yet; the first start makes one in {settings.key_file}")
    if settings.key_file.stat().st_mode & 0o077:
        return Finding("keys", "warning", f"others may read {settings.key_file}; run: chmod 600 {settings.key_file}")
    number = len(content.entries) + (content.plain is not None)
    return Finding("keys", "good", f"{number} in {settings.key_file}, which its owner alone may read")


def check_directories(settings: Settings) -> Iterator[Finding]:
    places = {
        "models": (settings.models_dir, os.R_OK | os.X_OK),
        "state": (settings.state_dir, os.R_OK | os.W_OK | os.X_OK),
        "logs": (settings.log_file.parent, os.W_OK | os.X_OK),
    }
    for name, (path, mode) in places.items():
        place = _nearest_existing(path)
        if place is path and not path.is_dir():
            yield Finding(name, "bad", f"{path} is not a directory")
        elif not os.access(place, mode if place is path else os.W_OK | os.X_OK):
            yield Finding(name, "bad", f"this user may not use {place}; give it to the user who runs the daemon")
        elif place is path:
            yield Finding(name, "good", f"{path} can be used")
        else:
            yield Finding(name, "good", f"{path} is not there yet and will be made")


def check_models_dir_mode(settings: Settings) -> Finding:
    path = settings.models_dir
    if os.access(path, os.F_OK) and path.stat().st_mode & 0o002:
        state: State = "warning" if settings.config.models.allow_world_writable else "bad"
        return Finding("models mode", state, f"every user may write to {path}; run: chmod o-w {path}")
    return Finding("models mode", "good", "not every user may drop a model")


def check_inotify(settings: Settings, directory: Path = _INOTIFY) -> Finding:
    if settings.config.watch.mode == "poll":
        return Finding("inotify", "good", "not needed: watch.mode is poll")
    try:
        watches = int((directory / "max_user_watches").read_text())
        instances = int((directory / "max_user_instances").read_text())
    except (OSError, ValueError):
        return Finding("inotify", "warning", "this system has none: set watch.mode to poll")
    if watches < _LEAST_INOTIFY_WATCHES or instances < 1:
        words = (
            f"fs.inotify.max_user_watches is {watches}, max_user_instances {instances}: raise them, or the daemon polls"
        )
        return Finding("inotify", "warning", words)
    return Finding("inotify", "good", f"{watches} watches and {instances} instances for each user")


def check_memory(settings: Settings) -> Finding:
    free = free_host_bytes() / _GIGABYTE
    largest = max((_size_of(path) for path in _versions(settings)), default=0) / _GIGABYTE
    needed = max(_LEAST_MEMORY_GB, _MODELS_IN_MEMORY * largest)
    if free < needed:
        words = f"{free:.1f} GB free, {needed:.1f} GB wanted: a reload may have to unload the live model first"
        return Finding("memory", "warning", words)
    return Finding("memory", "good", f"{free:.1f} GB free")


def check_fleet_memory(settings: Settings) -> Finding:
    """What `window.max_servers` servers take, or how many `auto` allows."""
    config, free = settings.config, free_host_bytes()
    servers = max_servers(config, free_bytes=free)
    wanted = needed_bytes(config, servers)
    words = (
        f"{servers:,} servers with {len(config.metrics)} metrics take up to {wanted / _GIGABYTE:.1f} GB, "
        f"{bytes_per_server(config, servers) / 1e3:.0f} kB each"
    )
    if config.window.max_servers == AUTO:
        return Finding("fleet memory", "good", f"window.max_servers is auto: {words}")
    if wanted > free:
        words += f"; {free / _GIGABYTE:.1f} GB are free: lower window.max_servers, or set it to auto"
        return Finding("fleet memory", "warning", words)
    return Finding("fleet memory", "good", words)


def check_disk(settings: Settings) -> Iterator[Finding]:
    for name, path in (("disk of state", settings.state_dir), ("disk of models", settings.models_dir)):
        free = shutil.disk_usage(_nearest_existing(path)).free / _GIGABYTE
        state: State = "good" if free >= _LEAST_DISK_GB else "warning"
        yield Finding(name, state, f"{free:.1f} GB free" + ("" if state == "good" else "; make room"))


def check_clock(clock: Callable[[], float] = time.time) -> Finding:
    now = clock()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _OLDEST_SANE_CLOCK:
        return Finding("clock", "bad", f"it says {shown}: samples of today would be refused as from the future")
    return Finding("clock", "good", f"it says {shown}; compare that with a watch")


def _is_ours(host: str, port: int) -> bool:
    connection = HTTPConnection(reachable_host(host), port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/health")
        return b'"nordiq_watch"' in connection.getresponse().read(_ANSWER_BYTES)
    except (OSError, UnicodeError, HTTPException):  # UnicodeError: a name that no host can have
        return False
    finally:
        connection.close()


def _versions(settings: Settings) -> list[Path]:
    try:
        return [path for path in settings.models_dir.iterdir() if is_candidate(path.name) and path.is_dir()]
    except OSError:
        return []


def _size_of(directory: Path) -> int:
    try:
        return sum(file.stat().st_size for file in directory.iterdir() if file.is_file())
    except OSError:
        return 0


def _nearest_existing(path: Path) -> Path:
    """As far as this user can see: `Path.exists` raises if a parent directory is closed to it."""
    return next(place for place in (path, *path.absolute().parents) if os.access(place, os.F_OK))
