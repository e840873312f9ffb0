"""Who may do what: the role that each route needs, in one table. A test fails for a route that is not in it.

read    sees everything and changes nothing
feed    sends data and sees nothing: its key lies on every host of the fleet
admin   everything
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from nordiq_watch.errors import ConfigError
from nordiq_watch.records import KeyHolder, Role

ROLE_OF: Mapping[str, Role] = {
    "GET /health": "read",
    "GET /ready": "read",
    "GET /status": "read",
    "GET /metrics": "read",
    "GET /openapi.json": "read",
    "POST /feed/data": "feed",
    "POST /feed/prometheus": "feed",
    "POST /feed/telegraf": "feed",
    "GET /predictions/current": "read",
    "GET /predictions/<path:server>": "read",
    "GET /alerts/active": "read",
    "GET /drift/status": "read",
    "GET /drift/report": "read",
    "GET /cascade/status": "read",
    "GET /cascade/health": "read",
    "GET /explain/<path:server>": "read",
    "GET /admin/models": "read",
    "GET /admin/model-info": "read",
    "GET /admin/reloads": "read",
    "GET /admin/reloads/<reload_id>": "read",
    "GET /admin/accuracy": "read",
    "POST /admin/reload-model": "admin",
    "POST /admin/rollback": "admin",
    "POST /admin/unpin": "admin",
    "GET /historical/summary": "read",
    "GET /historical/alerts": "read",
    "GET /historical/environment": "read",
    "GET /historical/server/<path:server>": "read",
    "GET /historical/export/alerts": "read",
    "GET /historical/export/environment": "read",
    "GET /": "read",
    "GET /servers/<path:server>": "read",
    "DELETE /servers/<path:server>": "admin",
    "GET /models": "read",
    "GET /system": "read",
    "GET /view/fleet": "read",
    "GET /view/servers/<path:server>": "read",
    "GET /view/system": "read",
    "GET /view/log": "admin",  # the log names files of this host
    "GET /charts/<version>.js": "read",
    "GET /console/<path:filename>": "read",
    "GET /sign-in": "read",
    "POST /sign-in": "read",
    "POST /sign-out": "read",
}


def check_public(paths: Collection[str]) -> None:
    """ConfigError when one of `auth.public` is no route: a path that is misspelt would stay locked without a word."""
    unknown = set(paths) - {route.partition(" ")[2] for route in ROLE_OF}
    if unknown:
        raise ConfigError(f"auth.public names {', '.join(sorted(unknown))}, which the API does not have")


def needed_role(method: str, rule: str | None) -> Role:
    """What a request to a route needs; a route that nobody thought of is for admins."""
    return ROLE_OF.get(f"{'GET' if method == 'HEAD' else method} {rule}", "admin")


def is_allowed(holder: KeyHolder, role: Role) -> bool:
    return holder.role in (role, "admin")
