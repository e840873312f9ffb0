"""Who is signed in to the console: random tokens in a cookie, each standing for the API key that was shown for it.

A session is worth what its key is worth: every request that carries one is checked as if it carried the key, so a key
that is replaced ends its sessions at once. They live in memory; a restart of the daemon asks to sign in again.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

IDLE_SECONDS = 12 * 3600.0
"""A session that was not used for so long is over."""

MOST_SESSIONS = 1000
"""One more ends the one that was used longest ago."""

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Session:
    key: str
    used_at: float


class Sessions:
    """From any thread. `clock` is monotonic."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_token: OrderedDict[str, _Session] = OrderedDict()  # the one used longest ago first

    def open(self, key: str) -> str:
        """The token of a new session for whoever showed this key."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        with self._lock:
            self._by_token[token] = _Session(key, self._clock())
            while len(self._by_token) > MOST_SESSIONS:
                self._by_token.popitem(last=False)
        return token

    def key_of(self, token: str | None) -> str | None:
        """The key behind a token, which counts as use; None when there is no such session, or not any more."""
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
        """Ends a session; one that is over already stays so."""
        with self._lock:
            self._by_token.pop(token or "", None)
