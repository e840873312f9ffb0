"""How often somebody may ask: so many requests a minute for each key and route.

On `limits`, the library under Flask-Limiter: that one counts only routes that exist, and whoever guesses keys may guess
on any path. Counted in this process's memory; the window slides, so that nobody has two minutes' worth at its edge.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from nordiq_watch.api.enums import Role
from nordiq_watch.config import Limits
from nordiq_watch.errors import TooManyRequests


class Throttle:
    """Counts requests, from any thread. Without limits it counts nothing."""

    def __init__(self, limits: Limits | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._clock = clock
        self.replace(limits)

    def replace(self, limits: Limits | None) -> None:
        """Other limits from now on; what was counted stays."""
        self._per_minute: Mapping[str, int] = {}
        if limits is not None:
            self._per_minute = {
                "read": limits.read_per_minute,
                "feed": limits.feed_per_minute,
                "admin": limits.admin_per_minute,
                "refused": limits.refused_per_minute,
            }

    def count_allowed(self, who: str, role: Role, route: str) -> None:
        """One request to a route that needs `role`. TooManyRequests when there were too many."""
        self._count(role, who, route)

    def count_refused(self, address: str) -> None:
        """One request without a right key. TooManyRequests when there were too many."""
        self._count("refused", address)

    def _count(self, kind: str, *who: str) -> None:
        amount = self._per_minute.get(kind)
        if amount is None:
            return
        item = RateLimitItemPerMinute(amount)
        if self._limiter.hit(item, kind, *who):
            return
        left = self._limiter.get_window_stats(item, kind, *who).reset_time - self._clock()
        raise TooManyRequests(
            f"more than {amount} requests a minute (limits.{kind}_per_minute); wait a moment",
            retry_after=max(1, math.ceil(left)),
        )


def limits_in_force(limits: Limits, *, other_machines: bool) -> Limits | None:
    """None where nothing is counted: by the config, or because only this machine can reach the daemon."""
    return limits if limits.mode == "always" or (limits.mode == "auto" and other_machines) else None
