"""The guard in front of all routes, known and unknown: without a key only public routes answer; with one, its role
decides.

The key comes in a header, or through the cookie of a console session. Browsers send a cookie with requests of any
origin: so a changing request with a cookie must also prove that a page of the console made it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from urllib.parse import urlsplit

from flask import g, request
from werkzeug.wrappers import Request

from nordiq_watch.api.enums import Role
from nordiq_watch.errors import Forbidden, Unauthorized
from nordiq_watch.log_throttle import LogThrottle
from nordiq_watch.security.keys import KeyHolder, Keyring
from nordiq_watch.security.rate_limits import RateLimits
from nordiq_watch.web.access import COUNTED, SAFE_METHODS, check_public, is_allowed, needed_role
from nordiq_watch.web.services import services
from nordiq_watch.web.sessions import Sessions

log = logging.getLogger(__name__)

KEY_HEADER = "X-API-Key"
CONSOLE_HEADER = "X-Nordiq-Console"
"""Pages of other origins cannot send it: their browser's preflight request is never granted."""

_TAKE_PASSWORDS = ("/write", "/query", "/ping", "/feed/prometheus", "/feed/telegraf", "/feed/collectd", "/v1/metrics")
"""Ends of paths, all of them collectors', where a password may be the key: `basic_auth` is what many of them know.
Nowhere else: browsers send a password that they know with requests of any origin.
"""

_PORTS = {"http": 80, "https": 443}


class Guard:
    """Lets a request pass if its route is public or its key has a sufficient role.

    401 without a valid key, whether the route exists or not; 403 for an insufficient role; 429 beyond `rate_limits`.
    Wrong keys are logged, limited by `wrong_key_lines`.

    Decides by the matched route, never by the text of the URL, so that no other spelling can slip through.
    """

    def __init__(
        self,
        keys: Keyring,
        *,
        public: Collection[str],
        sessions: Sessions,
        rate_limits: RateLimits,
        wrong_key_lines: LogThrottle,
        open_routes: Collection[str] = (),
    ) -> None:
        """Raises ConfigError if a public path is no route. open_routes: routes needed for the sign-in itself, always
        open.
        """
        check_public(public)
        self._unguarded = frozenset((*public, *open_routes))
        self._keys = keys
        self._sessions = sessions
        self._rate_limits = rate_limits
        self._wrong_key_lines = wrong_key_lines

    def check_request(self) -> None:
        """Raises unless the present request may be answered. Stores the KeyHolder of a guarded one in `g.holder`."""
        rule = request.url_rule.rule if request.url_rule is not None else None
        if rule in self._unguarded:
            role = Role.READ if request.method in SAFE_METHODS else Role.ADMIN
            self._rate_limits.count_allowed(request.remote_addr or "", role, rule or "")
            return
        g.holder = self._identify_caller()
        role = needed_role(request.method, rule)
        if COUNTED not in request.environ:
            self._rate_limits.count_allowed(g.holder.id, role, rule or "")
        if rule is not None:
            require_role(g.holder, role)

    def _identify_caller(self) -> KeyHolder:
        presented = presented_key(request)
        if presented is None:
            presented = self._key_of_session()
        holder = self._keys.identify(presented) if presented is not None else None
        if holder is None:
            self._rate_limits.count_refused(request.remote_addr or "")
            raise self._refusal(presented)
        return holder

    def _key_of_session(self) -> str | None:
        key = self._sessions.key_of(request.cookies.get(self._sessions.cookie))
        if key is not None and request.method not in SAFE_METHODS:
            require_console_page()
        return key

    def _refusal(self, presented: str | None) -> Unauthorized:
        if presented is None:
            return Unauthorized(f"no key was sent. Send the daemon's API key in the header {KEY_HEADER}.")
        if (more := self._wrong_key_lines.count()) is not None:
            log.warning("wrong API key from %s: %s %s%s", request.remote_addr, request.method, request.path, more)
        return Unauthorized(f"the key in {KEY_HEADER} is not this daemon's")


def presented_key(sent: Request) -> str | None:
    """The key in X-API-Key or, for programs that only support that, in Authorization: as `Bearer` (Prometheus), as
    `Token` (InfluxDB 2) or, at the routes of collectors, as the password of `Basic`.
    """
    key = sent.headers.get(KEY_HEADER)
    if key is not None:
        return key
    authorization = sent.authorization
    if authorization is None:
        return None
    if authorization.type == "basic":
        return authorization.password if sent.path.endswith(_TAKE_PASSWORDS) else None
    return authorization.token if authorization.type in ("bearer", "token") else None


def require_role(holder: KeyHolder, role: Role) -> None:
    """Raises Forbidden unless this key's role is sufficient."""
    if not is_allowed(holder, role):
        raise Forbidden(f"this needs a key of the role {role}; yours ({holder.id}) has the role {holder.role}")


def require_console_page() -> None:
    """Raises Forbidden unless a page of this daemon made the request."""
    require_own_origin()
    if CONSOLE_HEADER not in request.headers:
        raise Forbidden(f"a request with a session cookie that changes something must carry {CONSOLE_HEADER}")


def require_own_origin() -> None:
    """Raises Forbidden if, according to the browser, another site's page made this request. Proxies must keep Host."""
    origin = request.headers.get("Origin")
    if origin is not None and not _is_same_place(origin, request.host):
        if (more := services().wrong_key_lines.count()) is not None:
            log.warning("refused a request from a page of %.100r, for %s%s", origin, request.remote_addr, more)
        raise Forbidden("this request was made by a page of another site")


def _is_same_place(origin: str, host: str) -> bool:
    """Whether a page of this origin came from this Host. Capitals and the scheme's own port make no difference:
    proxies write them or not.
    """
    try:
        page = urlsplit(origin)
        place = urlsplit(f"{page.scheme}://{host}")
        ports = [place.port or _PORTS.get(page.scheme), page.port or _PORTS.get(page.scheme)]
    except ValueError:  # such as http://[
        return False
    return page.hostname is not None and page.hostname == place.hostname and ports[0] == ports[1]
