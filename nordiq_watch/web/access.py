"""Who may do what: the role of each route, from the table of endpoints."""

from __future__ import annotations

from collections.abc import Collection

from nordiq_watch.api.endpoints import ENDPOINTS, find_endpoint
from nordiq_watch.api.enums import Role
from nordiq_watch.errors import ConfigError
from nordiq_watch.records import KeyHolder

TAKES_DATA = frozenset({"POST /feed/data", "POST /feed/prometheus", "POST /feed/telegraf"})
"""Routes whose bodies may have `server.max_body_mb`."""

SIGN_IN_BYTES = 16 * 1024
"""Of a body that may come without a key, at the sign-in."""

ORDER_BYTES = 64 * 1024
"""Of a body at all other routes: an order has a few words."""

_WITHOUT_KEY = frozenset({"POST /sign-in", "POST /sign-out"})
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def check_public(paths: Collection[str]) -> None:
    """ConfigError when one of `auth.public` is no route: a path that is misspelt would stay locked without a word."""
    unknown = set(paths) - {endpoint.rule for endpoint in ENDPOINTS.values()}
    if unknown:
        raise ConfigError(f"auth.public names {', '.join(sorted(unknown))}, which the API does not have")


def needed_role(method: str, rule: str | None) -> Role:
    """The role that a request needs; a route that is not in the table requires admin."""
    endpoint = find_endpoint(method, rule)
    return Role.ADMIN if endpoint is None else endpoint.role


def is_allowed(holder: KeyHolder, role: Role) -> bool:
    return holder.role in (role, Role.ADMIN)


def body_limit(method: str, rule: str | None, *, max_body_bytes: int) -> int:
    """How many bytes of body a request to a route may have, where its sender may send one there at all."""
    route = f"{method} {rule}"
    if route in TAKES_DATA:
        return max_body_bytes
    return SIGN_IN_BYTES if route in _WITHOUT_KEY else ORDER_BYTES
