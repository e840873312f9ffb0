"""Access rules derived from the table of endpoints (`api.endpoints`): needed roles and body limits."""

from __future__ import annotations

from collections.abc import Collection

from nordiq_watch.api.endpoints import ENDPOINTS, find_endpoint
from nordiq_watch.api.enums import Role
from nordiq_watch.errors import ConfigError
from nordiq_watch.security.keys import KeyHolder

TAKES_DATA = frozenset(
    {
        *(f"POST /feed/{name}" for name in ("data", "prometheus", "telegraf", "collectd")),
        "POST /v1/metrics",
        "POST /write",
        "POST /api/v2/write",
        "POST /admin/import",
    }
)
"""Routes whose bodies may be as large as `server.max_body_mb`."""

SIGN_IN_BYTES = 16 * 1024
"""Limit of the only body accepted without a key, at the sign-in."""

ORDER_BYTES = 64 * 1024
"""Limit of bodies at all other routes, whose requests are short."""

COUNTED = "nordiq_watch.counted"
"""In the environment of a request that the rate limits have counted before the app had it."""

_WITHOUT_KEY = frozenset({"POST /sign-in", "POST /sign-out"})
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def check_public(paths: Collection[str]) -> None:
    """ConfigError if a path in `auth.public` is no route: a misspelt path would silently stay protected."""
    unknown = set(paths) - {endpoint.rule for endpoint in ENDPOINTS.values()}
    if unknown:
        raise ConfigError(f"auth.public names {', '.join(sorted(unknown))}, which the API does not have")


def needed_role(method: str, rule: str | None) -> Role:
    """The role that a request needs; unlisted routes require admin."""
    endpoint = find_endpoint(method, rule)
    return Role.ADMIN if endpoint is None else endpoint.role


def is_allowed(holder: KeyHolder, role: Role) -> bool:
    return holder.role in (role, Role.ADMIN)


def body_limit(method: str, rule: str | None, *, max_body_bytes: int) -> int:
    """Maximum body size for a route, in bytes, if the sender may send a body there at all."""
    route = f"{method} {rule}"
    if route in TAKES_DATA:
        return max_body_bytes
    return SIGN_IN_BYTES if route in _WITHOUT_KEY else ORDER_BYTES
