"""Console sessions: random tokens in a cookie, each standing for the API key shown at the sign-in.

Every request with a session is checked as if it carried the key, so a replaced key ends its sessions at once. Sessions
live in memory; after a restart of the daemon, users sign in again.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IDLE_SECONDS = 12 * 3600.0
"""A session unused for this long ends."""

MOST_SESSIONS = 1000
"""One more ends the least recently used one."""

SESSION_COOKIE = "nordiq_session"

_TOKEN_BYTES = 32


def name_cookie(state_dir: Path) -> str:
    """A name for the cookie that only the daemon of this state directory uses.

    Browsers send a cookie to every port of a host, and behind a proxy two machines may be one host: with one name for
    all, signing in to one daemon would sign out of the other.
    """
    place = f"{socket.gethostname()}:{state_dir.absolute()}"
    return f"{SESSION_COOKIE}_{hashlib.blake2s(place.encode(), digest_size=4).hexdigest()}"


@dataclass(frozen=True, slots=True)
class _Session:
    key: str
    used_at: float


class Sessions:
    """Thread-safe. `clock` is monotonic; cookie: name of the cookie that holds the token."""

    def __init__(self, *, clock: Callable[[], float], cookie: str = SESSION_COOKIE) -> None:
        self.cookie = cookie
        self._clock = clock
        self._lock = threading.Lock()
        self._by_token: OrderedDict[str, _Session] = OrderedDict()  # the one used longest ago first

    def open(self, key: str) -> str:
        """The token of a new session for the holder of this key."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        with self._lock:
            self._by_token[token] = _Session(key, self._clock())
            while len(self._by_token) > MOST_SESSIONS:
                self._by_token.popitem(last=False)
        return token

    def key_of(self, token: str | None) -> str | None:
        """The key behind a token, which counts as use; None if there is no such session."""
        if token is None:
            return None
        with self._lock:
            session = self._by_token.pop(token, None)
            now = self._clock()
            if session is None or now - session.used_at > IDLE_SECONDS:
                return None
            self._by_token[token] = _Session(session.key, now)
            return session.key

    def close(self, token: str | None) -> None:
        """Ends a session, if it exists."""
        with self._lock:
            self._by_token.pop(token or "", None)
