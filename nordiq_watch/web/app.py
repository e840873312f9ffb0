"""Assembles the HTTP API: routes, the guard in front of them, one format for errors, and request metrics."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
import orjson
from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.routing import PathConverter

from nordiq_watch.names import tidy_name
from nordiq_watch.web import (
    admin,
    alerts,
    explain,
    feed,
    historical,
    imports,
    influx,
    openapi,
    otlp,
    predictions,
    prometheus,
    quality,
    server_list,
    servers,
    status,
)
from nordiq_watch.web.admission import refuse_missing_bodies
from nordiq_watch.web.audit_trail import audit_requests
from nordiq_watch.web.auth import Guard
from nordiq_watch.web.collectors import keep_translators
from nordiq_watch.web.conditional import answer_conditionally
from nordiq_watch.web.console import pages, views
from nordiq_watch.web.deliveries import note_refused_url
from nordiq_watch.web.errors import register_error_answers
from nordiq_watch.web.forwarded_prefix import check_forwarded_prefix
from nordiq_watch.web.influx import refuse_keys_in_urls
from nordiq_watch.web.prometheus import Instruments
from nordiq_watch.web.quick_feed import QuickFeed
from nordiq_watch.web.request_slots import keep_request_slots
from nordiq_watch.web.routing import check_queries
from nordiq_watch.web.services import EXTENSION, Services

log = logging.getLogger(__name__)

_MEGABYTE = 1_000_000
_PARTS = (
    status,
    feed,
    otlp,
    influx,
    predictions,
    alerts,
    explain,
    historical,
    quality,
    admin,
    prometheus,
    imports,
    server_list,
    servers,
    openapi,
    pages,
    views,
)
_NO_ROUTE = "unmatched"
"""Label for requests to unknown routes, whose paths are unbounded."""


def create_app(services: Services) -> Flask:
    """The WSGI app of one daemon. Raises ConfigError if `auth.public` names a path that the API does not have."""
    app = Flask("nordiq_watch", static_folder=None)
    app.url_map.merge_slashes = False  # one spelling for each route, no redirects
    app.url_map.converters = {**app.url_map.converters, "path": _TidyPath}
    app.config["MAX_CONTENT_LENGTH"] = int(services.config.server.max_body_mb * _MEGABYTE)
    app.json = _InOrder(app)
    app.extensions[EXTENSION] = services
    keep_translators(app, services)
    keep_request_slots(app, threads=services.config.server.threads)
    register_error_answers(app)
    for part in _PARTS:
        app.register_blueprint(part.routes)
    instruments = Instruments(services)
    _observe_requests(app, instruments)
    app.after_request(_forbid_sniffing)
    views.keep_views(app, services)
    audit_requests(app, services.security.audit)
    answer_conditionally(app)
    guard = Guard(
        services.security.keyring,
        public=services.config.auth.public,
        sessions=services.sessions,
        rate_limits=services.security.rate_limits,
        wrong_key_lines=services.wrong_key_lines,
        open_routes=pages.OPEN_ROUTES,
    )
    check_forwarded_prefix(app, services.config.server)
    refuse_keys_in_urls(app)
    app.before_request(guard.check_request)
    refuse_missing_bodies(app)
    check_queries(app, note_refused_url)
    most_bytes = app.config["MAX_CONTENT_LENGTH"]
    app.wsgi_app = QuickFeed(app.wsgi_app, services, instruments, most_bytes=most_bytes)  # type: ignore[method-assign]
    return app


class _TidyPath(PathConverter):
    """The rest of a path as a server name, normalised like the feed's."""

    def to_python(self, value: str) -> str:
        return tidy_name(super().to_python(value))


class _InOrder(DefaultJSONProvider):
    """Writes fields in the order of the code, without spaces, as UTF-8."""

    @staticmethod
    def default(value: Any) -> Any:
        """Encodes Structs inside a dictionary."""
        return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else DefaultJSONProvider.default(value)

    def dumps(self, obj: Any, **options: Any) -> str:
        return orjson.dumps(obj, default=self.default).decode()

    def response(self, *args: Any, **fields: Any) -> Response:
        body = orjson.dumps(self._prepare_response_obj(args, fields), default=self.default)
        return Response(body + b"\n", mimetype=self.mimetype)


def _forbid_sniffing(response: Response) -> Response:
    """Names in answers come from feeders: no browser may take JSON or CSV with one in it for a page."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _observe_requests(app: Flask, instruments: Instruments) -> None:
    """Times every request, refused ones included; register before the guard."""

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.began
        rule = request.url_rule
        instruments.observe_request(
            route=rule.rule if rule is not None else _NO_ROUTE, status=response.status_code, seconds=seconds
        )
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s %s %d in %.1f ms, for %s",
                request.method, request.path, response.status_code, seconds * 1000, request.remote_addr,
            )  # fmt: skip
        return response
