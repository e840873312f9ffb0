"""One guard in front of all routes, known and unknown: without the key, only the public list answers."""

from __future__ import annotations

import logging
from collections.abc import Collection

from flask import Flask, request

from nordiq_watch.errors import ConfigError, Unauthorized
from nordiq_watch.web.services import KeyCheck

log = logging.getLogger(__name__)

KEY_HEADER = "X-API-Key"


def guard_requests(app: Flask, keys: KeyCheck, *, public: Collection[str]) -> None:
    """Lets a request pass if its route is public or it shows the key; else 401, whether the route exists or not.

    Decides by the route that was matched, never by the text of the URL: one that is written in another way cannot
    slip through. Call it when all routes are there: ConfigError if a public path is none of them.
    """
    unknown = set(public) - {rule.rule for rule in app.url_map.iter_rules()}
    if unknown:
        raise ConfigError(f"auth.public names {', '.join(sorted(unknown))}, which the API does not have")

    @app.before_request
    def require_key() -> None:
        if request.url_rule is not None and request.url_rule.rule in public:
            return
        presented = request.headers.get(KEY_HEADER)
        if presented is None:
            raise Unauthorized(f"no key was sent. Send the daemon's API key in the header {KEY_HEADER}.")
        if not keys.accepts(presented):
            log.warning("wrong API key from %s: %s %s", request.remote_addr, request.method, request.path)
            raise Unauthorized(f"the key in {KEY_HEADER} is not this daemon's")
