"""Notices a reverse proxy that has the daemon under a path which the daemon does not know."""

from __future__ import annotations

import logging

from flask import Flask, request

from nordiq_watch.config.schema import ServerSettings

log = logging.getLogger(__name__)

_HEADER = "HTTP_X_FORWARDED_PREFIX"


def check_forwarded_prefix(app: Flask, settings: ServerSettings) -> None:
    """Warns once if X-Forwarded-Prefix is not `server.url_prefix`: the console's links would lead past the proxy.

    The header alone changes nothing: who may set it is not known.
    """
    told = False

    @app.before_request
    def check() -> None:
        nonlocal told
        prefix = request.environ.get(_HEADER)
        if prefix is None or told or prefix.rstrip("/") == settings.url_prefix:
            return
        told = True
        log.warning(
            "a proxy says that it has this daemon under %.100r (X-Forwarded-Prefix), but server.url_prefix is %r: "
            "links of the console lead elsewhere; set server.url_prefix to that path",
            prefix.rstrip("/"),
            settings.url_prefix,
        )
