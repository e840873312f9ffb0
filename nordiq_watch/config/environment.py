"""Environment variables other than settings: the key, the daemon's address, systemd's sockets and watchdog."""

from __future__ import annotations

import os
from collections.abc import Mapping

from msgspec import Struct

API_KEY_VARIABLE = "NORDIQ_API_KEY"

URL_VARIABLE = "NORDIQ_URL"

PREFIX = "NORDIQ_"

RESERVED_VARIABLES = {API_KEY_VARIABLE, URL_VARIABLE}


class Remote(Struct, frozen=True):
    """The daemon that a client talks to, according to the environment."""

    url: str | None = None
    api_key: str | None = None


def find_remote(environ: Mapping[str, str] | None = None) -> Remote:
    """Reads NORDIQ_URL and NORDIQ_API_KEY; None for one that is unset or empty."""
    environ = os.environ if environ is None else environ
    return Remote(url=environ.get(URL_VARIABLE) or None, api_key=environ.get(API_KEY_VARIABLE) or None)


class Supervision(Struct, frozen=True):
    """What systemd passes to this process: the notify socket, the watchdog interval, the number of sockets."""

    notify_socket: str | None = None
    watchdog_seconds: float | None = None
    passed_sockets: int = 0


def find_supervision(environ: Mapping[str, str] | None = None, *, own_pid: int | None = None) -> Supervision:
    """Reads NOTIFY_SOCKET, WATCHDOG_USEC and LISTEN_FDS, if they are meant for this process and not its parent."""
    environ = os.environ if environ is None else environ
    own = str(os.getpid() if own_pid is None else own_pid)
    watchdog, sockets = environ.get("WATCHDOG_USEC", ""), environ.get("LISTEN_FDS", "")
    watched = watchdog.isdecimal() and int(watchdog) > 0 and environ.get("WATCHDOG_PID", own) == own
    return Supervision(
        notify_socket=environ.get("NOTIFY_SOCKET") or None,
        watchdog_seconds=int(watchdog) / 1_000_000 if watched else None,
        passed_sockets=int(sockets) if sockets.isdecimal() and environ.get("LISTEN_PID") == own else 0,
    )


def environment_without_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child that must follow its config file alone: no NORDIQ_* but the key and the address."""
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX) or name in RESERVED_VARIABLES}
