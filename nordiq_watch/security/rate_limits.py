"""Rate limits: requests per minute for each key and route.

Uses `limits`, the library under Flask-Limiter, which itself counts only routes that exist, whereas keys can be guessed
on any path. Counted in this process's memory in sliding windows, so that no client gets two minutes' worth at their
edge.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from nordiq_watch.api.enums import Role
from nordiq_watch.config.schema import LimitSettings
from nordiq_watch.errors import TooManyRequests


class RateLimits:
    """Counts requests, from any thread. Without limits it counts nothing."""

    def __init__(self, limits: LimitSettings | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._clock = clock
        self.replace(limits)

    def replace(self, limits: LimitSettings | None) -> None:
        """Replaces the limits; counts are kept."""
        self._per_minute: Mapping[str, int] = {}
        if limits is not None:
            self._per_minute = {
                "read": limits.read_per_minute,
                "feed": limits.feed_per_minute,
                "admin": limits.admin_per_minute,
                "refused": limits.refused_per_minute,
            }

    def count_allowed(self, who: str, role: Role, route: str) -> None:
        """Counts a request to a route that needs `role`. Raises TooManyRequests beyond the limit, without counting."""
        self._count(role, who, route)

    def count_refused(self, address: str) -> None:
        """Counts a request without a valid key. Raises TooManyRequests beyond the limit."""
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


def limits_in_force(limits: LimitSettings, *, other_machines: bool) -> LimitSettings | None:
    """The limits; None if disabled by the config, or because only this machine can reach the daemon."""
    return limits if limits.mode == "always" or (limits.mode == "auto" and other_machines) else None
