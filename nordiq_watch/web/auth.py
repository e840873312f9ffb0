"""One guard in front of all routes, known and unknown: without a key, only the public list answers; with one, what its
role allows.

The key comes in a header, or stands behind the cookie of a console session. A cookie is sent by the browser whoever
made it send the request: so a request that changes something by it must also show that a page of the console made it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from urllib.parse import urlsplit

from flask import Flask, g, request
from werkzeug.wrappers import Request

from nordiq_watch.api.enums import Role
from nordiq_watch.errors import Forbidden, Unauthorized
from nordiq_watch.records import KeyHolder
from nordiq_watch.web.access import SAFE_METHODS, check_public, is_allowed, needed_role
from nordiq_watch.web.services import KeyCheck, services
from nordiq_watch.web.sessions import Sessions
from nordiq_watch.web.sparing import Sparing
from nordiq_watch.web.throttle import Throttle

log = logging.getLogger(__name__)

KEY_HEADER = "X-API-Key"
SESSION_COOKIE = "nordiq_session"
CONSOLE_HEADER = "X-Nordiq-Console"
"""Pages of other origins cannot send it: their browser asks first, and is never told yes."""


def guard_requests(
    app: Flask,
    keys: KeyCheck,
    *,
    public: Collection[str],
    sessions: Sessions,
    throttle: Throttle,
    strangers: Sparing,
    open_routes: Collection[str] = (),
) -> None:
    """Lets a request pass if its route is public or it shows a key whose role is enough.

    401 without a right key, whether the route exists or not; 403 for a key that may not do this; 429 for whoever asks
    more often than `throttle` allows. The log tells of wrong keys through `strangers`.

    Decides by the route that was matched, never by the text of the URL: one that is written in another way cannot
    slip through. ConfigError if a public path is no route. `open_routes` are what must answer before anybody can sign
    in, whatever the config says.
    """
    check_public(public)
    unguarded = {*public, *open_routes}

    @app.before_request
    def require_key() -> None:
        rule = request.url_rule.rule if request.url_rule is not None else None
        if rule in unguarded:
            role = Role.READ if request.method in SAFE_METHODS else Role.ADMIN
            throttle.count_allowed(request.remote_addr or "", role, rule or "")
            return
        g.holder = identify_caller()
        role = needed_role(request.method, rule)
        throttle.count_allowed(g.holder.id, role, rule or "")
        if rule is not None:
            require_role(g.holder, role)

    def identify_caller() -> KeyHolder:
        presented = presented_key(request)
        if presented is None:
            presented = sessions.key_of(request.cookies.get(SESSION_COOKIE))
            if presented is not None and request.method not in SAFE_METHODS:
                require_console_page()
        holder = keys.identify(presented) if presented is not None else None
        if holder is not None:
            return holder
        throttle.count_refused(request.remote_addr or "")
        if presented is None:
            raise Unauthorized(f"no key was sent. Send the daemon's API key in the header {KEY_HEADER}.")
        if (more := strangers.count()) is not None:
            log.warning("wrong API key from %s: %s %s%s", request.remote_addr, request.method, request.path, more)
        raise Unauthorized(f"the key in {KEY_HEADER} is not this daemon's")


def presented_key(sent: Request) -> str | None:
    """The key in X-API-Key, or, from programs that know only that way, such as Prometheus, `Authorization: Bearer`."""
    key = sent.headers.get(KEY_HEADER)
    if key is not None:
        return key
    authorization = sent.authorization
    return authorization.token if authorization is not None and authorization.type == "bearer" else None


def require_role(holder: KeyHolder, role: Role) -> None:
    """Forbidden unless this key allows it."""
    if not is_allowed(holder, role):
        raise Forbidden(f"this needs a key of the role {role}; yours ({holder.id}) has the role {holder.role}")


def require_console_page() -> None:
    """Forbidden unless the request was made by a page of this very daemon."""
    require_own_origin()
    if CONSOLE_HEADER not in request.headers:
        raise Forbidden(f"a request with a session cookie that changes something must carry {CONSOLE_HEADER}")


def require_own_origin() -> None:
    """Forbidden when the browser says that a page of another site made this request. A reverse proxy must keep Host."""
    origin = request.headers.get("Origin")
    if origin is not None and _host_of(origin) != request.host:
        if (more := services().strangers.count()) is not None:
            log.warning("refused a request from a page of %.100r, for %s%s", origin, request.remote_addr, more)
        raise Forbidden("this request was made by a page of another site")


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as http://[
        return None
